"""Classifying one photo among five species of five photos each: hmdrn against the alternatives."""
