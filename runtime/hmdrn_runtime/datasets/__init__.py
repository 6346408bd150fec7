"""Photographs by class, in folders and zips."""
