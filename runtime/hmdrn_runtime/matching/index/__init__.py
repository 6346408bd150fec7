"""Galleries of thousands of species: the exact best species from a part of the arithmetic.

A class's logit is one inner product of its operator with the photo's Gram matrix (docs/how-it-works.md).
Most classes are excluded by a bound on that product, and what cannot be excluded is computed in full.
"""
