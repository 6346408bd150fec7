"""Accuracy on unseen species against time and size: our models and the alternatives."""
