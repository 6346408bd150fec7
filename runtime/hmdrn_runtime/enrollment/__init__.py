"""Enrollment, the check of enrolled photos, and the selection of frames worth enrolling."""
