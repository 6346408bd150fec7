"""Checks of enrolled photos, and the choice of frames worth enrolling."""
