"""A guide: a trained network whose answers to the episodes a student learns (Hinton et al., 2015).

Reconstruction distances depend on the photos' Gram matrices alone. So the guide runs once on each cached
view, at a side of its own, and a step reads its summaries of the photos instead of running it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmdrn_network.backbones.base import LevelName
from hmdrn_network.checkpoints import Checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.heads.ridge import RidgeHead, doubled_off_diagonals, gram, pack, triangle, unpack
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.distillation.array_files import fill_array
from hmdrn_network.training.distillation.cache import PhotoSet, augmented_view, load_squares
from hmdrn_network.training.distillation.onnx_runners import OnnxModule
from hmdrn_network.training.distillation.recipe import Recipe
from hmdrn_network.training.photos import decoded_side
from hmdrn_runtime.errors import CheckpointError, TrainingError
from hmdrn_runtime.progress import ProgressCallback


class Guide(nn.Module):
    """A trained network with ridge heads, as it guides a student.

    The summary of a photo is a row of F numbers: the packed Gram matrices of its support tokens by level,
    those of its query tokens, and its projected maps, averaged to the sides of the student's.

    Args:
        network: The network, at the side that it runs at; its weights are frozen.
        sha256: Identifies its weights.
        map_sides: Sides of the student's maps by level; empty if maps are not compared.

    Attributes:
        record: SHA-256 and side, for the model card.
        width: F.
    """

    def __init__(self, network: HMDRN, sha256: str, map_sides: Mapping[LevelName, int]) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.map_sides = dict(map_sides)
        self.record = {"sha256": sha256, "side": network.config.side}
        self._levels = dict(zip(network.config.levels, network.config.level_specs, strict=True))
        grams = [level.packed for level in self._levels.values()]
        maps = [self._levels[name].channels * side**2 for name, side in self.map_sides.items()]
        self._sizes = [*grams, *grams, *maps]
        self.width = sum(self._sizes)
        # ONNX has neither the indices that `pack` computes, nor adaptive pooling to sides that do not divide
        # the map's: the indices are constants, and averaging is a product.
        self._triangles = {name: _triangle(level.channels) for name, level in self._levels.items()}
        self._averages = {
            name: F.adaptive_avg_pool1d(torch.eye(isqrt(self._levels[name].tokens))[None], side)[0]
            for name, side in self.map_sides.items()
        }

    def forward(self, images: Tensor) -> Tensor:
        """Return the summaries (N, F) of photos (N, S, S, 3) in 0-255."""
        return self.summarize(self.network.features(images))

    def summarize(self, maps: Mapping[LevelName, Tensor]) -> Tensor:
        """Return the summaries (N, F) of photos from their projected maps by level."""
        kinds = [self.network.transform(maps, masked) for masked in (False, True)]
        grams = [
            gram(tokens[name]).flatten(1)[:, places]
            for tokens in kinds
            for name, places in self._triangles.items()
        ]
        averaged = [(average.T @ maps[name] @ average).flatten(1) for name, average in self._averages.items()]
        return torch.cat([*grams, *averaged], dim=1)

    @torch.no_grad()
    def answer(self, summaries: Tensor, way: int, shots: int) -> Tensor:
        """Return the logits (B, C) of an episode, from the summaries of its photos.

        Args:
            summaries: Those of the support photos, class by class, then of the queries, float32 (N, F).
            way: Number of classes C.
            shots: Support photos of a class.
        """
        parts, count = torch.split(summaries, self._sizes, dim=1), way * shots
        distances: dict[LevelName, Tensor] = {}
        for index, (name, level) in enumerate(self._levels.items()):
            support, query = parts[index][:count], parts[len(self._levels) + index][count:]
            sums = unpack(support.reshape(way, shots, -1).sum(dim=1), level.channels)
            head = cast(RidgeHead, self.network.heads[name])
            operator = pack(head.operator(sums, sums.new_full((way,), shots * level.tokens)))
            distances[name] = (query @ (operator * doubled_off_diagonals(level.channels)).T).relu()
        logits: Tensor = self.network.fusion(distances)
        return logits

    def read_maps(self, summaries: Tensor, mirrored: Tensor) -> dict[LevelName, Tensor]:
        """Return the averaged maps (N, d, side, side) by level, for levels whose maps are compared.

        Args:
            summaries: Those of the photos, (N, F).
            mirrored: True for photos whose maps are to be mirrored, bool (N,).
        """
        parts = torch.split(summaries, self._sizes, dim=1)[2 * len(self._levels) :]
        maps: dict[LevelName, Tensor] = {}
        for (name, side), part in zip(self.map_sides.items(), parts, strict=True):
            plain = part.reshape(len(part), -1, side, side)
            maps[name] = torch.where(mirrored[:, None, None, None], plain.flip(3), plain)
        return maps


def _triangle(channels: int) -> Tensor:
    """Return the places of the packed upper triangle in a flat matrix, int64 (P,)."""
    rows, columns = triangle(channels)
    return rows * channels + columns


def open_guide(checkpoint: Checkpoint | None, recipe: Recipe) -> Guide | None:
    """Bring a trained network to the side at which the recipe has it guide.

    Args:
        checkpoint: The network; None for none.
        recipe: The recipe.

    Raises:
        CheckpointError: The network has no ridge head, other levels than the student, a side that its
            backbone cannot take, or maps of other widths that are to be compared.
        TrainingError: The recipe needs a guide, and there is none.
    """
    if checkpoint is None:
        if recipe.guide_side is not None:
            raise TrainingError(
                f"the recipe {recipe.name!r} needs a guide: give a better network's checkpoint by --guide"
            )
        return None
    student, own = recipe.network, checkpoint.network.config
    if own.head != "ridge" or own.levels != student.levels:
        raise CheckpointError(
            f"the guide has the head {own.head!r} and the levels {'+'.join(own.levels)}: a guide needs the "
            f"head 'ridge' and the student's levels, {'+'.join(student.levels)}"
        )
    network = HMDRN(replace(own, side=recipe.guide_side or own.side))
    network.load_state_dict(checkpoint.network.state_dict())
    compared = recipe.training.guide_map_weight > 0
    return Guide(network, checkpoint.sha256, _map_sides(own, student) if compared else {})


def _map_sides(guide: NetworkConfig, student: NetworkConfig) -> dict[LevelName, int]:
    theirs, ours = ([level.channels for level in config.level_specs] for config in (guide, student))
    if theirs != ours:
        raise CheckpointError(
            f"the guide's maps have {theirs} channels, the student's {ours}: they cannot be compared; set "
            "guide_map_weight to 0 in the recipe to learn the guide's answers alone"
        )
    return {name: student.spec.map_side(name, student.side) for name in student.levels}


class GuideRunner:
    """Runs a guide on augmented views, and caches its summaries in half precision.

    Args:
        guide: The guide.
        threads: Threads to run it with.
    """

    def __init__(self, guide: Guide, threads: int) -> None:
        self.guide, self.threads = guide, threads

    @cached_property
    def _run(self) -> OnnxModule:
        # A run that is continued has its summaries already, and needs no session.
        return OnnxModule(self.guide, self.guide.network.config.side, self.threads)

    def summarize_views(
        self, photos: PhotoSet, folder: Path, views: int, report: ProgressCallback
    ) -> npt.NDArray[np.float16]:
        """Return the summaries (N, views, F) of augmented views of photos to train on.

        The crops are those of the student's views. Photos are decoded anew, because the student's may be too
        small.

        Raises:
            TrainingError: Half precision cannot hold the summaries, or the cache cannot be written.
        """
        guide, side = self.guide, self.guide.network.config.side

        def compute(rows: slice) -> npt.NDArray[Any]:
            pixels = load_squares(photos.sources[rows], decoded_side(side))
            summaries = np.stack(
                [
                    self._run(augmented_view(pixels, photos.name, rows.start, view, side))
                    for view in range(views)
                ],
                axis=1,
            )
            if not np.abs(summaries).max() <= np.finfo(np.float16).max:
                raise TrainingError(
                    f"the guide's Gram matrices have entries of {np.abs(summaries).max():.3g}, too large for "
                    "half precision: give another guide"
                )
            return summaries

        key = f"guide {guide.record} {guide.map_sides} {views} {photos.key}"
        shape = (len(photos.sources), views, guide.width)
        return fill_array(folder / f"{photos.name}-guide.npy", shape, np.float16, key, compute, report)
