"""Frigate: names its birds and animals by the species that the user enrolled."""
