"""Figures and contact sheets; they need matplotlib (extra `plots`)."""
