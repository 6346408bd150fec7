"""Background of a bundle, fitted on simulated galleries: scores of unknowns, and confidence of answers.

Half of the background's species become the cohort that every photo is compared with. Galleries are drawn from
the other half, each within one group of look-alikes, with the group's other species as unknowns; then the
halves swap roles, and both are counted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.open_set.regression import fit_quantile, fit_temperature
from hmdrn_calibration.open_set.threshold_fit import (
    RATES,
    SPREAD_FLOOR,
    score_own_photos,
    score_rivals,
)
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics, packed_gram
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, ImpostorStatistics, RivalScores, known_scores
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

Group = Mapping[str, Sequence[PhotoStatistics]]
"""Look-alike species of one kind, such as birds: photos by label."""

COHORT_SHOTS = 5
QUERIES = 10
SHOTS = (1, 2, COHORT_SHOTS)
WAYS = (2, 3, 5, 8, 12, 20)
GALLERIES = 360
"""Galleries for each number of photos, shared by the groups and halves."""
MAX_SPECIES = 128
MAX_BYTES = 16 << 20
"""Size of the cohort's file: wide backbones, whose operators are large, keep fewer species."""
_TOO_FEW = "the background needs a data set of at least 8 species with 6 photos each: give more species"


@dataclass(frozen=True)
class SimulatedGallery:
    """Scores of one simulated gallery.

    Attributes:
        logits: Of known photos for its species (B, C).
        truth: Species of each known photo (B,).
        known: Scores of the known photos (B,).
        unknown: Scores of photos of other species (U,).
        unknown_species: Numbers of their species (U,).
        own: Mean score of its own photos, each left out of its species; 0 for one photo per species.
        rivals: Scores of its own photos for the best other species.
    """

    logits: Float32
    truth: npt.NDArray[np.int64]
    known: npt.NDArray[np.float64]
    unknown: npt.NDArray[np.float64]
    unknown_species: npt.NDArray[np.int64]
    own: float
    rivals: RivalScores

    @property
    def species(self) -> int:
        """Number of its species."""
        return int(self.logits.shape[1])


def simulate_galleries(
    matcher: RidgeMatcher,
    group: Group,
    operators: Float32,
    *,
    way: int,
    shots: int,
    count: int,
    rng: np.random.Generator,
    queries: int = QUERIES,
) -> Iterator[SimulatedGallery]:
    """Draw galleries from a group of species, whose other species are unknown to them.

    Args:
        matcher: Of a ridge network.
        group: More species than `way`, each with more photos than `shots`.
        operators: Of the cohort (N, P).
        way: Species of a gallery.
        shots: Photos of each.
        count: Number of galleries.
        rng: Draws them.
        queries: Most photos of a species to score.
    """
    labels = sorted(group)
    # Once for all galleries: a photo's logits for the cohort do not depend on them.
    cohort = {label: matcher.match(group[label], operators).logits for label in labels}
    for _ in range(count):
        drawn = [labels[i] for i in rng.permutation(len(labels))]
        orders = {label: rng.permutation(len(group[label])) for label in drawn}
        classes = [
            extend_species(None, label, [group[label][i] for i in orders[label][:shots]])
            for label in drawn[:way]
        ]
        known = [(label, i) for label in drawn[:way] for i in orders[label][shots : shots + queries]]
        unknown = [(label, i) for label in drawn[way:] for i in orders[label][:queries]]
        photos = known + unknown
        logits = matcher.compare([group[label][i] for label, i in photos], {}, classes)
        scores = known_scores(logits, np.stack([cohort[label][i] for label, i in photos]))
        own = score_own_photos(matcher, classes, operators)
        yield SimulatedGallery(
            logits[: len(known)],
            np.array([drawn.index(label) for label, _ in known]),
            scores[: len(known)],
            scores[len(known) :],
            np.array([drawn.index(label) for label, _ in unknown]),
            float(own.mean()) if len(own) else 0.0,
            score_rivals(matcher, classes, operators) or RivalScores(0.0, 0.0),
        )


def fit_background(
    matcher: RidgeMatcher,
    groups: Mapping[str, Group],
    provenance: Mapping[str, Any],
    seed: int = 0,
    count: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Background:
    """Fit a bundle's background.

    Args:
        matcher: Of a ridge network.
        groups: Photos of background species by group; species within a group are look-alikes.
        provenance: Description of the photos.
        seed: Draws species and galleries.
        count: Galleries of a group, for each half and number of photos; its share of `GALLERIES` if None.
        report: Receives the progress.

    Raises:
        DatasetError: No group has enough species and photos.
    """
    rng = np.random.default_rng(seed)
    matcher, groups = sum_tokens(matcher, groups)
    halves: tuple[dict[str, Group], dict[str, Group]] = ({}, {})
    for name, group in groups.items():
        labels = [sorted(group)[i] for i in rng.permutation(len(group))]
        for half, part in zip(halves, (labels[: len(labels) // 2], labels[len(labels) // 2 :]), strict=True):
            half[name] = {label: group[label] for label in part}
    cohorts = [_make_cohort(matcher, half) for half in halves]
    if not all(map(len, cohorts)):
        raise DatasetError(_TOO_FEW)
    pairs = [
        (_select_groups(half), operators) for half, operators in zip(reversed(halves), cohorts, strict=True)
    ]
    if count is None:
        count = math.ceil(GALLERIES / sum(len(half) for half, _ in pairs))
    steps = len(SHOTS) * sum(len(half) for half, _ in pairs)
    steps_done = itertools.count()

    def step() -> None:
        report("simulating galleries", next(steps_done), steps)

    impostors = tuple(_fit_impostors(matcher, pairs, shots, count, rng, step) for shots in SHOTS)
    report("simulating galleries", steps, steps)
    return Background(cohorts[0], impostors, provenance)


def sum_tokens(matcher: RidgeMatcher, groups: Mapping[str, Group]) -> tuple[RidgeMatcher, dict[str, Group]]:
    """Return a matcher and photos with Gram matrices in place of tokens: each photo is in many galleries."""
    network = matcher.network

    def sum_photo(photo: PhotoStatistics) -> PhotoStatistics:
        grams = {name: packed_gram(network, array) for name, array in photo.arrays.items()}
        return replace(photo, arrays={name: gram.astype(np.float32) for name, gram in grams.items()})

    summed = RidgeMatcher(replace(network, statistics="gram"), matcher.backend, matcher.variant)
    return summed, {
        name: {label: [sum_photo(photo) for photo in photos] for label, photos in group.items()}
        for name, group in groups.items()
    }


def _make_cohort(matcher: RidgeMatcher, half: Mapping[str, Group]) -> Float32:
    """Return operators as a bundle stores them, (N, P); groups take turns, so that each has its share."""
    shares = [
        [extend_species(None, label, photos[:COHORT_SHOTS]) for label, photos in group.items()]
        for group in half.values()
    ]
    turns = range(max(map(len, shares), default=0))
    species = [share[turn] for turn in turns for share in shares if turn < len(share)]
    if not species:
        return np.zeros((0, matcher.network.packed), np.float32)
    most = max(1, min(MAX_SPECIES, MAX_BYTES // (2 * matcher.network.packed)))
    operators: Float32 = matcher.class_operands(species[:most])["operator"]
    return operators.astype(np.float16).astype(np.float32)


def _select_groups(half: Mapping[str, Group]) -> dict[str, Group]:
    """Select the groups to draw galleries from.

    Raises:
        DatasetError: There are none.
    """
    # Galleries of few species, with even fewer unknowns, say little: they count if there are no others.
    for least in (8, 4):
        if groups := {name: group for name, group in half.items() if len(group) >= least}:
            return groups
    raise DatasetError(_TOO_FEW)


def _fit_impostors(
    matcher: RidgeMatcher,
    pairs: Sequence[tuple[Mapping[str, Group], Float32]],
    shots: int,
    count: int,
    rng: np.random.Generator,
    step: Callable[[], None],
) -> ImpostorStatistics:
    """Fit thresholds and temperature on galleries of groups, each pair with the other half's cohort.

    `step` is called before the galleries of each group.
    """
    kinds: dict[tuple[str, int], list[SimulatedGallery]] = {}
    for groups, operators in pairs:
        for name, group in groups.items():
            step()
            members = {label: photos for label, photos in group.items() if len(photos) > shots}
            ways = [way for way in WAYS if way <= len(members) - 2]
            for way in ways:
                kinds.setdefault((name, way), []).extend(
                    simulate_galleries(
                        matcher,
                        members,
                        operators,
                        way=way,
                        shots=shots,
                        count=max(1, count // len(ways)),
                        rng=rng,
                    )
                )
    if not kinds:
        raise DatasetError(
            f"the background needs 4 species of at least {shots + 1} photos outside its cohort: add photos"
        )
    galleries = [gallery for members in kinds.values() for gallery in members]
    own = np.array([gallery.own for gallery in galleries])
    kind_own = np.concatenate([np.full(len(m), np.mean([g.own for g in m])) for m in kinds.values()])
    counts = [len(gallery.unknown) for gallery in galleries]
    values = np.concatenate(
        [(g.unknown - g.rivals.mean) / (g.rivals.spread + SPREAD_FLOOR) for g in galleries]
    )
    inputs = np.repeat([[1 / (g.species - 1)] for g in galleries], counts, axis=0)
    weights = np.repeat(1 / np.array(counts), counts)
    bounds: dict[float, tuple[float, float]] = {}
    for far in RATES:
        constant, inverse = fit_quantile(inputs, values, weights, 1 - far)
        bounds[far] = (float(constant), float(inverse))
    rivals = RivalScores(
        float(np.mean([g.rivals.mean for g in galleries])),
        float(np.mean([g.rivals.spread for g in galleries])),
    )
    temperature = fit_temperature(
        [g.logits for g in galleries], [g.truth for g in galleries], kind_own.tolist()
    )
    return ImpostorStatistics(shots, float(own.mean()), rivals, bounds, temperature)
