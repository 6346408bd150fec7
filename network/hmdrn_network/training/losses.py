"""Losses beside the cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.heads.ridge import gram


def support_overlap(classes: Mapping[LevelName, Tensor]) -> Tensor:
    """Return the mean squared cosine between support tokens of different classes.

    FRN's auxiliary loss (Wertheimer et al., CVPR 2021, eq. 11) is the sum of |S_i S_j'|^2 over pairs of
    classes, of tokens scaled to unit length. Here it is a mean over the pairs of tokens, summed over the
    levels: its weight does not depend on way and shots.

    Args:
        classes: Support tokens by class {level: (C, n, d)}, C at least 2.

    Returns:
        A scalar: 0 (orthogonal) to 1 for each level.
    """
    total = torch.zeros((), device=next(iter(classes.values())).device)
    for tokens in classes.values():
        c, n, _ = tokens.shape
        # |S_i S_j'|^2 = <S_i'S_i, S_j'S_j>: Gram matrices stand for all pairs of tokens at once.
        products = gram(F.normalize(tokens, dim=-1)).flatten(1)
        pairs = products @ products.T
        total = total + (pairs.sum() - pairs.diagonal().sum()) / (c * (c - 1) * n * n)
    return total
