"""Galleries in other systems."""
