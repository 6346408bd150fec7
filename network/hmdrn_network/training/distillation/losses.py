"""Losses between a student and its teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def feature_distance(predicted: Tensor, features: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between predicted and real teacher features, both (N, F)."""
    return (1 - F.cosine_similarity(predicted, features, dim=1)).mean()


def relation_distance(student: Tensor, features: Tensor) -> Tensor:
    """Return the mean squared difference of the photos' similarities in both spaces.

    Relational distillation (Park et al., CVPR 2019) of cosines: the student's space may have any width.

    Args:
        student: The student's features (N, d), N at least 2.
        features: The teacher's centered features (N, F).

    Returns:
        A scalar, 0 to 4, over pairs of different photos.
    """
    ours = F.normalize(student - student.mean(dim=0), dim=1)
    theirs = F.normalize(features, dim=1)
    different = ~torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    return (ours @ ours.T - theirs @ theirs.T)[different].square().mean()
