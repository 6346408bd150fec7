"""Exact search of galleries of thousands of species with a fraction of the arithmetic.

A class's logit is one inner product of its operator with the photo's Gram matrix (docs/how-it-works.md).
Most classes are excluded by a bound on that product; the others are computed in full.
"""
