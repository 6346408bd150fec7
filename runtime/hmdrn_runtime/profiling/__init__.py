"""Measuring how fast a bundle is on the machine at hand."""
