"""Reconstruction heads: distances of query tokens to classes."""
