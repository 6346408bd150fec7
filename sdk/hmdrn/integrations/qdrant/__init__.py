"""Galleries in Qdrant, for more species than one machine holds."""
