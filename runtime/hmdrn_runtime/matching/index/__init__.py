"""Exact search of galleries of thousands of species with a fraction of the arithmetic.

A class's logit is one inner product of its operator with the photo's Gram matrix (docs/how-it-works.md).
In 8 bits it is known up to a bound, which excludes most classes; the others are computed in full.
"""
