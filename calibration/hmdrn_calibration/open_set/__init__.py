"""Fitting and measuring the threshold between known and unknown."""
