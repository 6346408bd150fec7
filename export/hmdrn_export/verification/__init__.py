"""Verification that ends every export: a bundle, as a device runs it, against the network in torch."""
