"""Known or unknown: background species and the threshold of a gallery."""
