"""Training: photographs to a checkpoint, by classification over all classes and then by episodes."""
