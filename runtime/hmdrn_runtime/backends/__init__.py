"""Executors of a bundle's graphs behind one interface."""
