"""Galleries of thousands of species: the exact best species from a part of the arithmetic.

A class's logit is one inner product of its operator with the photo's Gram matrix (docs/how-it-works.md).
Most classes are excluded by a bound on that product, and what cannot be excluded is computed in full.
"""

from hmdrn_runtime.large.enrolled import PRUNED, Enrolled, key_of
from hmdrn_runtime.large.index import Classes, Index
from hmdrn_runtime.large.keeper import Keeper
from hmdrn_runtime.large.kept import Solved, operators_path

__all__ = ["PRUNED", "Classes", "Enrolled", "Index", "Keeper", "Solved", "key_of", "operators_path"]
