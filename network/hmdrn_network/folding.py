"""A network whose kernels hold the scale of their normalization, as its graphs do."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from hmdrn_network.hmdrn import HMDRN


@torch.no_grad()
def fold_normalizations(network: HMDRN, half: bool = False) -> HMDRN:
    """Return the same function with every convolution scaled by the normalization after it.

    BatchNorm multiplies by gamma / sqrt(variance + epsilon). That factor moves into the kernel, with mean and
    variance of its outputs, and becomes exactly 1: graphs then have the kernels of the network. The network
    can be trained as before, and folding it again changes nothing.

    Args:
        network: In evaluation mode; it is not changed.
        half: Round matrices and kernels to half precision afterwards.
    """
    folded = copy.deepcopy(network)
    convolution: nn.Conv2d | None = None
    for module in folded.modules():  # a normalization is declared after its convolution
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):
            assert convolution is not None
            _fold(convolution, module)
    if half:
        for weight in folded.parameters():
            if weight.dim() > 1:
                weight.copy_(weight.half())
    return folded


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / _deviation(norm.running_var, norm.eps)
    convolution.weight.mul_(scale[:, None, None, None])
    if convolution.bias is not None:
        convolution.bias.mul_(scale)
    norm.running_mean.mul_(scale)
    # At a factor of 1 to the last bit, which the square of the rounded scale would miss.
    changed = scale != 1
    norm.running_var[changed] *= scale[changed].square()
    norm.weight.copy_(_deviation(norm.running_var, norm.eps))


def _deviation(variance: Tensor, epsilon: float) -> Tensor:
    # As the exporter computes it; torch's square root differs in the last bit.
    return torch.from_numpy(np.sqrt(variance.numpy() + epsilon))
