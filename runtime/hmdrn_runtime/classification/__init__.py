"""From prepared photos to predictions, and their explanations."""
