"""From a gallery's statistics to logits, for each kind of reconstruction head."""
