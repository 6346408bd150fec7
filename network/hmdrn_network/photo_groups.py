"""Photographs decoded once for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Resampling
from torch import Tensor

from hmdrn_runtime.datasets import Dataset

SIDE = 96
"""Side of the decoded photos in pixels: a little over the network's 84, for crops to vary."""


@dataclass(frozen=True)
class PhotoGroup:
    """Photos of the classes that may meet in one episode.

    Attributes:
        name: The group's name, e.g. its file's.
        images: RGB uint8 (N, S, S, 3).
        classes: For every class the indices of its photos in `images`.
    """

    name: str
    images: Tensor
    classes: tuple[Tensor, ...]


def load_photo_group(dataset: Dataset, report: Callable[[str, int, int], None]) -> PhotoGroup:
    """Decode a data set's photos, each squashed to a square; random crops bring other aspects back.

    Args:
        dataset: Photographs by class.
        report: Told of the progress.

    Raises:
        ImageError: A photo that cannot be read, by name.
    """
    images: list[npt.NDArray[np.uint8]] = []
    classes: list[Tensor] = []
    for photos in dataset.classes.values():
        first = len(images)
        for photo in photos:
            images.append(np.asarray(photo.load().resize((SIDE, SIDE), Resampling.BILINEAR)))
            report(f"reading {dataset.source.name}", len(images), len(dataset))
        classes.append(torch.arange(first, len(images)))
    return PhotoGroup(dataset.source.stem, torch.from_numpy(np.stack(images)), tuple(classes))
