"""Galleries of background species, played through: how their unknowns score, and how sure answers are.

Half of the background's species become the cohort that every photo is compared with. Of the other half
galleries are drawn, each within one group of look-alikes, with the group's other species as unknowns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.unknowns import RATES, fit_temperature, own_impostors, scale
from hmdrn_runtime.background import Background, Impostors, scores
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.matching import RidgeMatcher
from hmdrn_runtime.species import Species, with_photos
from hmdrn_runtime.statistics import Float32, PhotoStatistics

Group = Mapping[str, Sequence[PhotoStatistics]]
"""Look-alike species of one kind, such as birds: photos by label."""

COHORT_SHOTS = 5
QUERIES = 10
WAY = 5
MOST_SPECIES = 128
MOST_BYTES = 16 << 20
"""Of the cohort's file: wide backbones, whose operators are large, keep fewer species."""


@dataclass(frozen=True)
class Trial:
    """A gallery played through.

    Attributes:
        logits: Of known photos for its species (B, C).
        truth: The species of each, (B,).
        known: Scores of these photos (B,).
        unknown: Scores of photos of species that it does not have (U,).
        own: Scores of its own photos against all species but theirs (C x shots,).
        logits_of_unknown: (U, C).
    """

    logits: Float32
    truth: npt.NDArray[np.int64]
    known: npt.NDArray[np.float64]
    unknown: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]
    logits_of_unknown: Float32


def trials(
    matcher: RidgeMatcher,
    group: Group,
    operators: Float32,
    *,
    way: int,
    shots: int,
    count: int,
    rng: np.random.Generator,
    queries: int = QUERIES,
) -> Iterator[Trial]:
    """Draw galleries of a group of species; its other species are unknown to them.

    Args:
        matcher: Of a ridge network.
        group: More species than `way`, each of more photos than `shots`.
        operators: Of the cohort (N, P).
        way: Species of a gallery.
        shots: Photos of each.
        count: Galleries to draw.
        rng: Draws them.
        queries: Photos of a species to score at most.
    """
    labels = sorted(group)
    # Once for all galleries: a photo's logits for the cohort do not depend on them.
    cohort = {label: matcher.match(group[label], operators).logits for label in labels}
    for _ in range(count):
        drawn = [labels[i] for i in rng.permutation(len(labels))]
        orders = {label: rng.permutation(len(group[label])) for label in drawn}
        classes = [
            with_photos(None, label, [group[label][i] for i in orders[label][:shots]])
            for label in drawn[:way]
        ]
        rows = [(label, i) for label in drawn[:way] for i in orders[label][:shots]]
        known = [(label, i) for label in drawn[:way] for i in orders[label][shots : shots + queries]]
        strangers = [(label, i) for label in drawn[way:] for i in orders[label][:queries]]
        everything = [*rows, *known, *strangers]
        logits = matcher.compare([group[label][i] for label, i in everything], {}, classes)
        against = np.stack([cohort[label][i] for label, i in everything])
        a, b = len(rows), len(rows) + len(known)
        place = {label: c for c, label in enumerate(drawn[:way])}
        yield Trial(
            logits[a:b],
            np.array([place[label] for label, _ in known]),
            scores(logits[a:b], against[a:b]),
            scores(logits[b:], against[b:]),
            own_impostors(logits[:a], np.array([place[label] for label, _ in rows]), against[:a]),
            logits[b:],
        )


def fit_background(
    matcher: RidgeMatcher, groups: Mapping[str, Group], provenance: Mapping[str, Any], seed: int = 0
) -> Background:
    """Make a bundle's background.

    Args:
        matcher: Of a ridge network.
        groups: Photos of background species by group; species within one are look-alikes.
        provenance: What to say of the photographs.
        seed: Draws species and galleries.

    Raises:
        DatasetError: There is no group of enough species and photos.
    """
    rng = np.random.default_rng(seed)
    cohort: list[Species] = []
    rest: dict[str, Group] = {}
    shares: list[list[Species]] = []
    for name, group in groups.items():
        labels = [sorted(group)[i] for i in rng.permutation(len(group))]
        half = len(labels) // 2
        shares.append([with_photos(None, label, group[label][:COHORT_SHOTS]) for label in labels[:half]])
        rest[name] = {label: group[label] for label in labels[half:]}
    # In turn from every group, so that a large one does not crowd out the others.
    for turn in range(max(map(len, shares), default=0)):
        cohort += [share[turn] for share in shares if turn < len(share)]
    most = max(1, min(MOST_SPECIES, MOST_BYTES // (2 * matcher.network.packed)))
    # Galleries of few species, with fewer left as unknowns, say little: they count if there are no others.
    large = {name: group for name, group in rest.items() if len(group) >= WAY + 3}
    usable = large or {name: group for name, group in rest.items() if len(group) >= 4}
    if not cohort or not usable:
        raise DatasetError(
            "the background needs a data set of at least 8 species with 6 photos each: give more species"
        )
    operators = matcher.class_operands(cohort[:most])["operator"].astype(np.float16).astype(np.float32)
    impostors = tuple(_impostors(matcher, usable, operators, shots, rng) for shots in (1, COHORT_SHOTS))
    return Background(operators, impostors, provenance)


def _impostors(
    matcher: RidgeMatcher,
    groups: Mapping[str, Group],
    operators: Float32,
    shots: int,
    rng: np.random.Generator,
) -> Impostors:
    played: list[Trial] = []
    for group in groups.values():
        members = {label: photos for label, photos in group.items() if len(photos) > shots}
        way = min(WAY, len(members) - 2)
        if way >= 2:
            played += trials(matcher, members, operators, way=way, shots=shots, count=40, rng=rng)
    if not played:
        raise DatasetError(
            f"the background needs 4 species of at least {shots + 1} photos outside its cohort: add photos"
        )
    mean = float(np.mean([t.own.mean() for t in played]))
    deviation = float(np.sqrt(np.mean([t.own.var() for t in played]))) or 1.0
    scaled = []
    for trial in played:
        middle, width = scale(trial.own, mean, deviation)
        scaled.append((trial.unknown - middle) / width)
    pooled = np.concatenate(scaled)
    return Impostors(
        shots,
        mean,
        deviation,
        {far: float(np.quantile(pooled, 1 - far)) for far in RATES},
        fit_temperature([t.logits for t in played], [t.truth for t in played]),
    )
