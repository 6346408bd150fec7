"""Distillation of teachers into a network whose first stages are frozen and cached."""
