"""Photos of a user's folder, further photos of its species, and the accuracy of galleries of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.frozen_backbone import GramScorer
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.datasets.dataset import Photo
from hmdrn_runtime.evaluation.evaluation import Scorer
from hmdrn_runtime.images.preprocessing import Preprocessing

SHOTS = (1, 5)
"""Photos of a species in the galleries, beside all of the folder's."""
GALLERIES = 20
"""Galleries of each number of photos."""
LEAST = 10
"""Species that the folder has at least."""
BLOCK = 64
"""Photos that run through the network together."""

Rows: TypeAlias = Sequence[npt.NDArray[np.int64]]
"""Rows of the photos of each species."""


@dataclass(frozen=True)
class Split:
    """Rows of photos by species, divided into those of the user and those to be named.

    Attributes:
        own: Photos of the folder's species.
        others: Photos of species that are not in the folder, to enroll.
        own_queries: Further photos of the folder's species.
        other_queries: Further photos of the other species.
    """

    own: Rows
    others: Rows
    own_queries: Rows
    other_queries: Rows


def split_photos(counts: Sequence[int], photos: int, others: int, seed: int) -> Split:
    """Draw the species and photos of the folder.

    Args:
        counts: Photos of each species, whose rows follow each other.
        photos: Photos of a species in the folder, at most two thirds of the least.
        others: Species that are not in the folder, as long as `LEAST` are.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    photos = min(photos, min(counts) * 2 // 3)
    starts = np.cumsum([0, *counts[:-1]])
    drawn = [start + rng.permutation(count) for start, count in zip(starts, counts, strict=True)]
    order = rng.permutation(len(drawn))
    left_out = {int(i) for i in order[: max(0, min(others, len(drawn) - LEAST))]}
    parts = [[rows for i, rows in enumerate(drawn) if (i in left_out) == other] for other in (False, True)]
    return Split(
        *([rows[:photos] for rows in part] for part in parts),
        *([rows[photos:] for rows in part] for part in parts),
    )


def open_scorer(network: HMDRN, photos: Sequence[Photo]) -> GramScorer:
    """Return a scorer of photos with a network in evaluation mode."""
    scorer, preprocessing = GramScorer(network), Preprocessing("crop", network.config.side)
    for start in range(0, len(photos), BLOCK):
        scorer.add_photos(np.stack([p.prepare(preprocessing) for p in photos[start : start + BLOCK]]))
    return scorer


def score(scorer: Scorer, enrolled: Rows, queries: Rows, full: bool) -> dict[str, npt.NDArray[np.float64]]:
    """Return the share of galleries from which each query is named right, by the photos of a species.

    Args:
        scorer: Has the photos.
        enrolled: Rows to enroll; as many of each species.
        queries: Rows to name.
        full: True to add the gallery of all photos, as "all".
    """
    query = np.concatenate(queries)
    target = np.repeat(np.arange(len(queries)), [len(rows) for rows in queries])
    shares: dict[str, npt.NDArray[np.float64]] = {}
    for name, supports in draw_galleries(np.stack(enrolled), full).items():
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
