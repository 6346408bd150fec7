"""Threshold between known and unknown photos: fitted and measured."""
