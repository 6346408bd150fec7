"""Forecast of a gallery's accuracy on new photos, from its own photos.

Each photo is left out of its species with its group, and compared with all species (`evidence`). The softmax
of its logits gives the chance that the gallery would name it rightly. Two corrections make it a forecast: the
species lacks a group that it has for new photos, worth `GAIN / k` logits after k others; and chances of few
photos scatter and are pessimistic, so their mean is drawn toward that of other galleries (a linear fit). A
species of a single group has nothing to leave out: its photos are compared with themselves, less `SELF`
logits.

A new photo is known if its score against unknown species reaches the threshold. The scores of a species'
new photos are taken as normal, which says more than the count of a few photos that reach it. Their mean is
that of the n groups left out, which weighs n - 1, and that of species in general, which weighs 1, plus
`KNOWN_GAIN`; their variance is `OWN_VARIANCE`, plus `PRIOR_VARIANCE / n` as that mean is unsure. Species in
general are the bundle's background species, which the network knows better by `PRIOR_LOSS`; the spread of
their scores is the unit, so that the constants hold for networks with other scales.

The constants of the accuracy were fitted on galleries of eight data sets' val splits; those of the share
known on galleries of seven data sets' train and val splits, with 1, 2, 3, 5 and 10 photos of a species.
Without the data set that is judged they are nearly the same. They are those of the default's earlier network
of three layers, and hold for the present one; only `SELF` is fitted to that.
`python -m benchmarks.enrollment_evidence` measures the errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.enrollment.evidence import compare_species
from hmdrn_runtime.enrollment.photo_groups import group_photos
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Matcher
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, soft_maximum

GAIN, SELF = 1.0, 8.3
"""Logits that a second further group of photos adds, and that a photo gains from a species of itself."""
KNOWN_GAIN, SELF_LOSS = 0.31, 5.6
"""As `GAIN`, whatever the number of groups, and `SELF`, for scores against unknown species; in spreads."""
PRIOR_LOSS = 0.42
"""Spreads by which the mean score of species that the network was not trained on is lower."""
OWN_VARIANCE, PRIOR_VARIANCE = 0.36, 2.7
"""Variance of the scores of a species' photos, and of their mean while it is unknown; in squared spreads."""
SEVERAL, SINGLE = (0.637, 0.418, -0.046), (0.704, 0.266, -0.099)
"""Coefficients of the expected accuracy: a constant, one for the mean chance, and one for the logarithm of
the number of species, of `MOST_FITTED` at most; for species of several groups of photos, and of one."""
MOST_FITTED = 20
MOST_EXPECTED = 0.99
"""Most accuracy that is expected: the fit exceeds 1 for two or three species that are far apart."""
PRIOR = 5
"""Groups of photos that the gallery's mean counts as in a species' forecast."""
ERROR, SINGLE_ERROR, KNOWN_ERROR = 0.02, 0.1, 0.05
"""Errors of a forecast that more photos do not lessen, as standard deviations: of the accuracy, of that of
species of one group, and of the share known."""
MAX_SPECIES = 100
"""Species that are compared; of larger galleries every n-th."""
MIN_MIXED = 0.1
"""Least share of a species' photos that are expected to get another label, to name the pair."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A share of new photos.

    Attributes:
        share: Expected, 0-1.
        low: Lower end of the interval that holds the true share for about 19 of 20 galleries.
        high: Its upper end.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> expected = hmdrn.forecast(birds).accuracy
        >>> 0 <= expected.low <= expected.share <= expected.high <= 1
        True
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} % ({100 * self.low:.0f} to {100 * self.high:.0f})"


@dataclass(frozen=True)
class SpeciesForecast:
    """The forecast for photos of one species.

    Attributes:
        label: The species.
        views: Groups of photos that it has: copies and frames of one scene count as one.
        accuracy: Share of new photos that get this label.
        known: Share of them that count as known at the gallery's calibration; None without one.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> "Sooty Albatross" in [species.label for species in hmdrn.forecast(birds).species]
        True
    """

    label: str
    views: int
    accuracy: Estimate
    known: Estimate | None


@dataclass(frozen=True)
class Forecast:
    """Expected results of a gallery on new photos like those enrolled, all species equally often.

    Attributes:
        accuracy: Share of photos with the right label.
        known: Share of photos that count as known at the gallery's calibration; None without one.
        species: By species, in the gallery's order; at most `MAX_SPECIES`.
        mixed_up: Pairs of labels that will be mixed up, with the larger share of photos of one that get
            the other's label, 0-1; worst first.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> forecast = hmdrn.forecast(birds)
        >>> 0.5 < forecast.accuracy.share < 1
        True
    """

    accuracy: Estimate
    known: Estimate | None
    species: tuple[SpeciesForecast, ...]
    mixed_up: tuple[tuple[str, str, float], ...]

    def select(self, label: str) -> Forecast:
        """Return the forecast with only one species and its pairs; without species if it was not judged."""
        species = tuple(one for one in self.species if one.label == label)
        return replace(self, species=species, mixed_up=tuple(p for p in self.mixed_up if label in p[:2]))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        pairs = [{"labels": [a, b], "share": share} for a, b, share in self.mixed_up]
        return {**asdict(self), "species": [asdict(s) for s in self.species], "mixed_up": pairs}


@dataclass(frozen=True, eq=False)
class _Chances:
    """Chances of a species' photos to get each label, (N, C), and of new ones to count as known."""

    label: str
    views: int
    labels: Floats
    known: float | None


def forecast_gallery(
    matcher: Matcher,
    gallery: Mapping[str, Species],
    background: Background | None = None,
    threshold: float | None = None,
) -> Forecast | None:
    """Forecast a gallery's results.

    Args:
        matcher: Of a ridge network.
        gallery: The species by label.
        background: The bundle's background; needed with a threshold.
        threshold: Score from which a photo counts as known.

    Returns:
        The forecast; None if there are not two species with statistics of photos, or the head is attention.
    """
    members = [label for label, species in gallery.items() if species.photos]
    if len(members) < 2 or not isinstance(matcher, RidgeMatcher):
        return None
    order = {label: column for column, label in enumerate(gallery)}
    step = -(-len(members) // MAX_SPECIES)
    scored = background if threshold is not None else None
    chances = [_judge(matcher, gallery, label, order, scored, threshold or 0.0) for label in members[::step]]
    own = np.array([part.labels[:, order[part.label]].mean() for part in chances])
    views = np.array([part.views for part in chances])
    right = np.array([_correct(share, count, len(gallery)) for share, count in zip(own, views, strict=True)])
    error = ERROR if (views > 1).all() else SINGLE_ERROR
    overall = _estimate(float(right.mean()), int(views.sum()), error)
    shares = [part.known for part in chances if part.known is not None]
    return Forecast(
        overall,
        _estimate(float(np.mean(shares)), int(views.sum()), KNOWN_ERROR) if shares else None,
        tuple(
            SpeciesForecast(
                part.label,
                part.views,
                _estimate(
                    _shrink(float(right[i]), part.views, overall.share),
                    part.views,
                    ERROR if part.views > 1 else SINGLE_ERROR,
                ),
                None
                if part.known is None
                else _estimate(
                    _shrink(part.known, part.views, float(np.mean(shares))), part.views, KNOWN_ERROR
                ),
            )
            for i, part in enumerate(chances)
        ),
        _find_pairs(chances, list(gallery), own, right),
    )


def _judge(
    matcher: RidgeMatcher,
    gallery: Mapping[str, Species],
    label: str,
    order: Mapping[str, int],
    background: Background | None,
    threshold: float,
) -> _Chances:
    species = gallery[label]
    evidence = compare_species(matcher, gallery, label, {})
    photos = [species.photos[digest] for digest in evidence.digests] or list(species.photos.values())
    views = len(set(group_photos(matcher.network, list(species.photos.values())))) + len(species.sums)
    logits = np.zeros((len(photos), len(gallery)))
    if evidence.digests:
        logits[:, order[label]] = evidence.own
        logits[:, [order[other] for other in evidence.labels]] = evidence.rivals
        gain = GAIN / (views - 1)
    else:
        logits += matcher.compare(photos, {}, list(gallery.values()))
        gain = -SELF
    known = None
    if background is not None:
        scores = logits[:, order[label]] - soft_maximum(matcher.match(photos, background.operators).logits)
        known = _expect_known(float(scores.mean()), views if evidence.digests else 1, background, threshold)
    logits[:, order[label]] += gain
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return _Chances(label, views, shifted / shifted.sum(axis=1, keepdims=True), known)


def _expect_known(mean: float, views: int, background: Background, threshold: float) -> float:
    """Return the share of a species' new photos whose scores reach a threshold, from its own mean score."""
    several = views > 1
    statistics = min(background.impostors, key=lambda entry: abs(entry.shots - (5 if several else 2)))
    unit = statistics.rivals.spread
    prior = statistics.own - PRIOR_LOSS * unit
    if several:
        expected = (mean * (views - 1) + prior) / views + KNOWN_GAIN * unit
    else:
        # Each of two photos was compared with the other alone, as new photos are with this group.
        expected = (mean - SELF_LOSS * unit + prior) / 2
    variance = (OWN_VARIANCE + PRIOR_VARIANCE / views) * unit**2
    return math.erfc((threshold - expected) / (2 * variance) ** 0.5) / 2


def _correct(share: float, views: int, species: int) -> float:
    constant, slope, per_species = SEVERAL if views > 1 else SINGLE
    expected = constant + slope * share + per_species * float(np.log(min(species, MOST_FITTED)))
    return min(max(expected, 0.0), MOST_EXPECTED)


def _shrink(share: float, views: int, mean: float) -> float:
    return (views * share + PRIOR * mean) / (views + PRIOR)


def _estimate(share: float, views: int, error: float) -> Estimate:
    """Return an estimate with an interval of two standard deviations, of few views and of an error beside."""
    variance = share * (1 - share) / max(views, 3) + error**2
    width = 2 * variance**0.5
    return Estimate(share, max(0.0, share - width), min(1.0, share + width))


def _find_pairs(
    chances: Sequence[_Chances], labels: Sequence[str], own: Floats, right: Floats
) -> tuple[tuple[str, str, float], ...]:
    """Return the pairs of species that are mixed up; wrong answers are shared out as the chances are."""
    shares: dict[tuple[str, str], float] = {}
    for part, chance, accuracy in zip(chances, own, right, strict=True):
        wrong = part.labels.mean(axis=0) * (1 - accuracy) / max(1 - float(chance), 1e-9)
        for column in np.flatnonzero(wrong >= MIN_MIXED).tolist():
            if labels[column] != part.label:
                first, second = sorted((part.label, labels[column]))
                shares[first, second] = max(shares.get((first, second), 0.0), float(wrong[column]))
    return tuple((a, b, share) for (a, b), share in sorted(shares.items(), key=lambda item: -item[1]))
