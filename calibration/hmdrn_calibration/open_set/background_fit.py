"""Galleries of background species, played through: how their unknowns score, and how sure answers are.

Half of the background's species become the cohort that every photo is compared with. Of the other half
galleries are drawn, each within one group of look-alikes, with the group's other species as unknowns; then
the halves change places, and both are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.open_set.threshold_fit import RATES, fit_quantile, fit_temperature, own_scores
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics
from hmdrn_runtime.gallery.species import with_photos
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, Impostors, scores

Group = Mapping[str, Sequence[PhotoStatistics]]
"""Look-alike species of one kind, such as birds: photos by label."""

COHORT_SHOTS = 5
QUERIES = 10
SHOTS = (1, 2, COHORT_SHOTS)
WAYS = (2, 3, 5, 8, 11)
COUNT = 45
"""Galleries of a group, for each half and number of photos."""
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
        own: Mean score of its photos for their own species, each left out of it; 0 for one photo each.
    """

    logits: Float32
    truth: npt.NDArray[np.int64]
    known: npt.NDArray[np.float64]
    unknown: npt.NDArray[np.float64]
    own: float

    @property
    def species(self) -> int:
        """How many it has."""
        return int(self.logits.shape[1])


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
        known = [(label, i) for label in drawn[:way] for i in orders[label][shots : shots + queries]]
        strangers = [(label, i) for label in drawn[way:] for i in orders[label][:queries]]
        everything = [*known, *strangers]
        logits = matcher.compare([group[label][i] for label, i in everything], {}, classes)
        against = np.stack([cohort[label][i] for label, i in everything])
        own = own_scores(matcher, classes, operators)
        a = len(known)
        place = {label: c for c, label in enumerate(drawn[:way])}
        yield Trial(
            logits[:a],
            np.array([place[label] for label, _ in known]),
            scores(logits[:a], against[:a]),
            scores(logits[a:], against[a:]),
            float(own.mean()) if len(own) else 0.0,
        )


def fit_background(
    matcher: RidgeMatcher,
    groups: Mapping[str, Group],
    provenance: Mapping[str, Any],
    seed: int = 0,
    count: int = COUNT,
) -> Background:
    """Make a bundle's background.

    Args:
        matcher: Of a ridge network.
        groups: Photos of background species by group; species within one are look-alikes.
        provenance: What to say of the photographs.
        seed: Draws species and galleries.
        count: Galleries of a group to play through, for each half and number of photos.

    Raises:
        DatasetError: There is no group of enough species and photos.
    """
    rng = np.random.default_rng(seed)
    halves: tuple[dict[str, Group], dict[str, Group]] = ({}, {})
    for name, group in groups.items():
        labels = [sorted(group)[i] for i in rng.permutation(len(group))]
        for half, part in zip(halves, (labels[: len(labels) // 2], labels[len(labels) // 2 :]), strict=True):
            half[name] = {label: group[label] for label in part}
    cohorts = [_cohort(matcher, half) for half in halves]
    if not all(map(len, cohorts)):
        raise DatasetError(_TOO_FEW)
    played = [(_usable(half), operators) for half, operators in zip(reversed(halves), cohorts, strict=True)]
    impostors = tuple(_impostors(matcher, played, shots, count, rng) for shots in SHOTS)
    return Background(cohorts[0], impostors, provenance)


_TOO_FEW = "the background needs a data set of at least 8 species with 6 photos each: give more species"


def _cohort(matcher: RidgeMatcher, half: Mapping[str, Group]) -> Float32:
    """Operators as a bundle keeps them, (N, P); in turn from every group, so that none crowds out another."""
    shares = [
        [with_photos(None, label, photos[:COHORT_SHOTS]) for label, photos in group.items()]
        for group in half.values()
    ]
    turns = range(max(map(len, shares), default=0))
    species = [share[turn] for turn in turns for share in shares if turn < len(share)]
    if not species:
        return np.zeros((0, matcher.network.packed), np.float32)
    most = max(1, min(MOST_SPECIES, MOST_BYTES // (2 * matcher.network.packed)))
    operators: Float32 = matcher.class_operands(species[:most])["operator"]
    return operators.astype(np.float16).astype(np.float32)


def _usable(half: Mapping[str, Group]) -> dict[str, Group]:
    """The groups to draw galleries from.

    Raises:
        DatasetError: There are none.
    """
    # Galleries of few species, with fewer left as unknowns, say little: they count if there are no others.
    found = {name: group for name, group in half.items() if len(group) >= 8}
    found = found or {name: group for name, group in half.items() if len(group) >= 4}
    if not found:
        raise DatasetError(_TOO_FEW)
    return found


def _impostors(
    matcher: RidgeMatcher,
    played: Sequence[tuple[Mapping[str, Group], Float32]],
    shots: int,
    count: int,
    rng: np.random.Generator,
) -> Impostors:
    kinds: dict[tuple[str, int], list[Trial]] = {}
    for groups, operators in played:
        for name, group in groups.items():
            members = {label: photos for label, photos in group.items() if len(photos) > shots}
            ways = [way for way in WAYS if way <= len(members) - 2]
            for way in ways:
                found = trials(
                    matcher,
                    members,
                    operators,
                    way=way,
                    shots=shots,
                    count=max(1, count // len(ways)),
                    rng=rng,
                )
                kinds.setdefault((name, way), []).extend(found)
    if not kinds:
        raise DatasetError(
            f"the background needs 4 species of at least {shots + 1} photos outside its cohort: add photos"
        )
    galleries = [(trial, kind) for kind, members in kinds.items() for trial in members]
    typical = {kind: float(np.mean([t.own for t in members])) for kind, members in kinds.items()}
    smooth = np.array([typical[kind] for _, kind in galleries])
    exact = np.array([t.own for t, _ in galleries])
    counts = [len(t.unknown) for t, _ in galleries]
    species = np.log([t.species for t, _ in galleries])
    values = np.concatenate([t.unknown for t, _ in galleries])
    weights = np.repeat(1 / np.array(counts), counts)
    bounds: dict[float, tuple[float, float, float]] = {}
    for far in RATES:
        inputs = np.repeat(np.column_stack([species, smooth]), counts, axis=0)
        _, a, b = fit_quantile(inputs, values, weights, 1 - far)
        # With a gallery's own mean in place of its kind's, the constant is another.
        rest = values - np.repeat(a * species + b * exact, counts)
        (constant,) = fit_quantile(np.zeros((len(rest), 0)), rest, weights, 1 - far)
        bounds[far] = (float(constant), float(a), float(b))
    return Impostors(
        shots,
        float(exact.mean()),
        bounds,
        fit_temperature([t.logits for t, _ in galleries], [t.truth for t, _ in galleries], smooth.tolist()),
    )
