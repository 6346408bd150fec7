"""Decoded photos and their augmented views, which depend on their arguments alone."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from PIL.Image import Resampling

from hmdrn_network.training.augmentation import augment


def center_square(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Resize the shorter side to `side` pixels and cut the center: RGB uint8 (side, side, 3)."""
    width, height = image.size
    scale = side / min(width, height)
    width, height = max(side, round(width * scale)), max(side, round(height * scale))
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def augmented_view(
    photos: npt.NDArray[np.uint8], group: str, first_row: int, view: int, side: int
) -> npt.NDArray[np.float32]:
    """Return one augmented view of a block of photos.

    Args:
        photos: RGB uint8 (N, S, S, 3), a block of a group.
        group: Name of the group.
        first_row: Row of the block's first photo in the group.
        view: Number of the view.
        side: Side of the result in pixels.

    Returns:
        float32 (N, side, side, 3) in 0-255; it depends on the arguments alone.
    """
    digest = hashlib.sha256(f"{group} {first_row} {view}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    pixels = torch.from_numpy(np.array(photos))
    return augment(pixels, side, generator).numpy()
