"""Galleries in vector engines, where one machine is outgrown."""
