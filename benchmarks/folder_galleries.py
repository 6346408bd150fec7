"""Photos of a user's folder, further photos of its species, and the accuracy of galleries of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.frozen_backbone import GramScorer
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.datasets.dataset import Photo
from hmdrn_runtime.images.preprocessing import Preprocessing

SHOTS = (1, 5)
"""Photos of a species in the galleries, beside all of the folder's."""
GALLERIES = 20
"""Galleries of each number of photos."""
LEAST = 10
"""Species that the folder has at least."""
BLOCK = 64
"""Photos that run through the network together."""

Photos: TypeAlias = Sequence[Sequence[Photo]]
"""Photos of each species."""


@dataclass(frozen=True)
class Split:
    """Photos of species, divided into those of the user and those to be named.

    Attributes:
        own: Photos of the folder's species.
        others: Photos of species that are not in the folder, to enroll.
        own_queries: Further photos of the folder's species.
        other_queries: Further photos of the other species.
    """

    own: Photos
    others: Photos
    own_queries: Photos
    other_queries: Photos


def split_photos(classes: Mapping[str, Sequence[Photo]], count: int, others: int, seed: int) -> Split:
    """Draw the species and photos of the folder.

    Args:
        classes: Photos by species.
        count: Photos of a species in the folder, at most two thirds of the least.
        others: Species that are not in the folder, as long as `LEAST` are.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    count = min(count, *(len(photos) * 2 // 3 for photos in classes.values()))
    drawn = [[photos[i] for i in rng.permutation(len(photos))] for photos in classes.values()]
    order = rng.permutation(len(drawn))
    left_out = {int(i) for i in order[: max(0, min(others, len(drawn) - LEAST))]}
    own = [photos for i, photos in enumerate(drawn) if i not in left_out]
    other = [photos for i, photos in enumerate(drawn) if i in left_out]
    return Split(
        *([photos[:count] for photos in part] for part in (own, other)),
        *([photos[count:] for photos in part] for part in (own, other)),
    )


def score(
    network: HMDRN, enrolled: Photos, queries: Photos, full: bool
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the share of galleries from which each query is named right, by the photos of a species.

    Args:
        network: In evaluation mode.
        enrolled: Photos to enroll; as many of each species.
        queries: Photos to name.
        full: True to add the gallery of all photos, as "all".
    """
    scorer, preprocessing = GramScorer(network), Preprocessing("crop", network.config.side)
    photos = [photo for part in (enrolled, queries) for members in part for photo in members]
    for start in range(0, len(photos), BLOCK):
        scorer.add_photos(np.stack([p.prepare(preprocessing) for p in photos[start : start + BLOCK]]))
    species, count = len(enrolled), len(enrolled[0])
    rows = np.arange(species * count).reshape(species, count)
    query = np.arange(rows.size, len(photos))
    target = np.repeat(np.arange(species), [len(members) for members in queries])
    shares: dict[str, npt.NDArray[np.float64]] = {}
    for name, supports in draw_galleries(rows, full).items():
        right = [scorer.logits(support, query).argmax(axis=1) == target for support in supports]
        shares[name] = np.mean(right, axis=0)
    return shares


def draw_galleries(rows: npt.NDArray[np.int64], full: bool) -> dict[str, list[npt.NDArray[np.int64]]]:
    """Return the rows of the photos of each gallery, (species, photos), by the number of photos."""
    galleries = {
        str(shots): [
            np.random.default_rng(seed).permuted(rows, axis=1)[:, :shots] for seed in range(GALLERIES)
        ]
        for shots in SHOTS
        if shots < rows.shape[1]
    }
    return {**galleries, "all": [rows]} if full else galleries
