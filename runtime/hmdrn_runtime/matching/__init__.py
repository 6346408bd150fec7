"""Logits from a gallery's statistics, for each kind of reconstruction head."""
