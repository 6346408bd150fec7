"""Few-shot episodes and their accuracy."""
