"""Backbones: images to feature maps of two levels."""
