"""Augmentation of whole batches on the training device, reproducible from a generator.

The recipe of FRN (Wertheimer et al., CVPR 2021): random resized crop, horizontal flip, color jitter of 0.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_GRAY = (0.299, 0.587, 0.114)


def augment(
    images: Tensor, size: int, generator: torch.Generator, scale: tuple[float, float] = (0.3, 1.0)
) -> Tensor:
    """Return random crops with random color jitter.

    Args:
        images: RGB uint8 (N, S, S, 3).
        size: Side of the result in pixels.
        generator: Source of every random number; on the CPU, whatever the images' device.
        scale: Range of the crop's share of the image's area, 0-1.

    Returns:
        float32 (N, size, size, 3) in 0-255.
    """
    n, device = images.shape[0], images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high, generator=generator)

    area, ratio = uniform(*scale), uniform(math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
    x, y = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)
    flip = torch.where(uniform(0, 1) < 0.5, 1.0, -1.0)
    zero = torch.zeros(n)
    theta = torch.stack([width * flip, zero, x, zero, height, y], dim=1).reshape(n, 2, 3).to(device)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    pixels = F.grid_sample(
        images.permute(0, 3, 1, 2).float(), grid, padding_mode="reflection", align_corners=False
    )

    brightness, contrast, saturation = (uniform(0.6, 1.4).reshape(n, 1, 1, 1).to(device) for _ in range(3))
    weights = torch.tensor(_GRAY, device=device).reshape(1, 3, 1, 1)
    pixels = pixels * brightness
    mean = (pixels * weights).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * contrast
    gray = (pixels * weights).sum(dim=1, keepdim=True)
    return (gray + (pixels - gray) * saturation).clamp(0, 255).permute(0, 2, 3, 1)
