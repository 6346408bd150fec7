"""Threshold between known and unknown photos, and temperature of the probabilities, for one gallery.

*Score*: how much better the best enrolled species explains a photo than the background species
(`hmdrn_runtime.open_set.background.known_scores`).
*Threshold*: galleries differ in how close strangers come. The gallery's own photos say how close: each is a
stranger to the other species. If unknown species are like the enrolled ones, as enrolled ones are to each
other, their scores have the mean and the spread of the photos' scores for the best other species. How many
spreads above that mean a quantile lies depends little on the gallery; it is a linear function of the inverse
number of other species, fitted on galleries of background species (quantile regression: Koenker and Bassett,
Econometrica 1978). A network that knows its training species better than others does not shift it.
*Photos of other species* from the gallery's own place, if there are any, replace that: a new one is above
the i-th highest of n scores with probability i / (n + 1) (conformal prediction: Vovk, Gammerman and Shafer,
2005). Thresholds of rates below 1 / (n + 1) lie as far above the highest score as in the background.
*Temperature*: a divisor of the logits, fitted by likelihood (Guo et al., ICML 2017); its logarithm is a
linear function of the own scores too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_number
from hmdrn_runtime.enrollment.leave_one_out import leave_one_out
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Matcher
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import (
    Background,
    ImpostorStatistics,
    RivalScores,
    known_scores,
    soft_maximum,
)
from hmdrn_runtime.open_set.threshold import Calibration

RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""False-accept rates with fitted bounds; others are interpolated."""
SPREAD_FLOOR = 2.0
"""Added to the spread of rivals' scores, which that of few photos may miss; chosen by eight val groups."""
MAX_SPECIES = 100
"""Species whose photos are scored for the best other species."""
MAX_UNKNOWN = 1000
"""Scores of photos of other species that a calibration keeps, about 7 bytes each."""


def fit_calibration(
    matcher: Matcher,
    species: Mapping[str, Species],
    background: Background,
    far: float,
    unknown: Sequence[float] = (),
) -> Calibration:
    """Fit a gallery's threshold and temperature.

    Args:
        matcher: Of a ridge network.
        species: At least one.
        background: The bundle's background.
        far: Share of unknown photos that may be accepted, from 0.01 to 0.5.
        unknown: Of photos of other species, as `measure_unknown` returns them.

    Raises:
        GalleryError: The rate is out of range, the gallery is empty, or its photos cannot be compared.
    """
    advice = f"choose a false-accept rate from {RATES[0]} to {RATES[-1]}"
    far = check_number(far, "far", advice, GalleryError, lambda rate: RATES[0] <= rate <= RATES[-1])
    matcher, classes = _check_gallery(matcher, species)
    statistics, rivals = _measure_rivals(matcher, classes, background)
    scores = score_own_photos(matcher, classes, background.operators)
    own = float(scores.mean()) if len(scores) else statistics.own
    threshold = compute_threshold(statistics, len(classes), rivals, far, unknown)
    temperature = compute_temperature(statistics, own)
    return Calibration(threshold, temperature, far, background.digest, tuple(unknown))


def measure_unknown(
    matcher: Matcher,
    species: Mapping[str, Species],
    background: Background,
    photos: Iterable[Sequence[PhotoStatistics]],
) -> tuple[float, ...]:
    """Score photos of other species, in spreads above the mean of the gallery's photos for other species.

    Args:
        matcher: Of a ridge network.
        species: At least one.
        background: The bundle's background.
        photos: In batches.

    Returns:
        The scores, descending, rounded to three digits; of more than `MAX_UNKNOWN` evenly chosen ones.

    Raises:
        GalleryError: The gallery is empty, or its photos cannot be compared.
    """
    matcher, classes = _check_gallery(matcher, species)
    _, rivals = _measure_rivals(matcher, classes, background)
    scores = np.concatenate(
        [
            known_scores(
                matcher.compare(batch, {}, classes), matcher.match(batch, background.operators).logits
            )
            for batch in photos
        ]
    )
    spreads = np.sort((scores - rivals.mean) / (rivals.spread + SPREAD_FLOOR))[::-1]
    return tuple(np.round(spreads[:: -(-len(spreads) // MAX_UNKNOWN)], 3).tolist())


def _check_gallery(
    matcher: Matcher, species: Mapping[str, Species]
) -> tuple[RidgeMatcher, Sequence[Species]]:
    if not species:
        raise GalleryError("an empty gallery cannot be calibrated: enroll photos of a species first")
    if not isinstance(matcher, RidgeMatcher):
        raise GalleryError(
            "a bundle with the attention head keeps nothing to compare enrolled photos by: "
            "unknowns need a bundle with the ridge head"
        )
    return matcher, list(species.values())


def _measure_rivals(
    matcher: RidgeMatcher, classes: Sequence[Species], background: Background
) -> tuple[ImpostorStatistics, RivalScores]:
    """Return a background's statistics for a gallery, and the scores of its photos for other species."""
    statistics = select_impostors(background.impostors, float(np.median([s.shots for s in classes])))
    return statistics, score_rivals(matcher, classes, background.operators) or statistics.rivals


def score_own_photos(
    matcher: RidgeMatcher, classes: Sequence[Species], operators: Float32
) -> npt.NDArray[np.float64]:
    """Score the photos of species with several photos for their own species, each left out of it.

    The background species' `operators` are (B, P).
    """
    parts = [np.zeros(0)]
    for species in classes:
        logits = leave_one_out(matcher, species, {})
        if logits:
            photos = [species.photos[digest] for digest in logits]
            parts.append(
                np.array(list(logits.values())) - soft_maximum(matcher.match(photos, operators).logits)
            )
    return np.concatenate(parts)


def score_rivals(matcher: RidgeMatcher, classes: Sequence[Species], operators: Float32) -> RivalScores | None:
    """Score the photos of a gallery for the best other species; None for fewer than two species or photos.

    The background species' `operators` are (B, P). Of many species every n-th gives its photos.
    """
    step = -(-len(classes) // MAX_SPECIES)
    judged = [
        (column, photo)
        for column in range(0, len(classes), step)
        for photo in classes[column].photos.values()
    ]
    if len(classes) < 2 or len(judged) < 2:
        return None
    photos = [photo for _, photo in judged]
    logits = matcher.compare(photos, {}, classes)
    logits[np.arange(len(photos)), [column for column, _ in judged]] = -np.inf
    scores = known_scores(logits, matcher.match(photos, operators).logits)
    return RivalScores(float(scores.mean()), float(scores.std()))


@dataclass(frozen=True)
class AcceptanceReport:
    """Enrolled photos that count as known if they are left out of their own species.

    Attributes:
        known: Photos that do, by label.
        judged: Photos that could be left out, by label: 0 for a species of one photo, or of a sum.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> calibration = hmdrn.calibrate_threshold(birds)
        >>> report = hmdrn.evaluate_acceptance(birds)
        >>> set(report.known) <= set(report.judged)
        True
    """

    known: Mapping[str, int]
    judged: Mapping[str, int]

    @property
    def rejected_species(self) -> tuple[str, ...]:
        """Species with judged photos of which none counts as known."""
        return tuple(label for label, photos in self.judged.items() if photos and not self.known[label])

    @property
    def unjudged_species(self) -> tuple[str, ...]:
        """Species without a photo that could be judged."""
        return tuple(label for label, photos in self.judged.items() if not photos)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        rows = [
            {"label": label, "known": self.known[label], "of": photos}
            for label, photos in self.judged.items()
        ]
        return {"known": sum(self.known.values()), "of": sum(self.judged.values()), "species": rows}


def measure_acceptance(
    matcher: RidgeMatcher, species: Mapping[str, Species], operators: Float32, threshold: float
) -> AcceptanceReport:
    """Count the photos of a gallery whose score reaches a threshold, each left out of its species.

    The background species' `operators` are (B, P).
    """
    scores = {label: score_own_photos(matcher, [one], operators) for label, one in species.items()}
    known = {label: int((own >= threshold).sum()) for label, own in scores.items()}
    return AcceptanceReport(known, {label: len(own) for label, own in scores.items()})


def compute_threshold(
    statistics: ImpostorStatistics,
    species: int,
    rivals: RivalScores,
    far: float,
    unknown: Sequence[float] = (),
) -> float:
    """Return the score that a share `far` of unknown photos reaches.

    Args:
        statistics: Of galleries with as many photos per species.
        species: Number of species of the gallery.
        rivals: Scores of its photos for the best other species.
        far: The rate, 0-1.
        unknown: Scores of photos of other species, in spreads above the mean of `rivals`.
    """
    spreads = _interpolate_bounds(statistics, species, far)
    if len(unknown):
        lowest = max(far, 1 / (len(unknown) + 1))
        quantile = float(np.quantile(unknown, 1 - lowest, method="weibull"))
        spreads += quantile - _interpolate_bounds(statistics, species, lowest)
    return rivals.mean + spreads * (rivals.spread + SPREAD_FLOOR)


def _interpolate_bounds(statistics: ImpostorStatistics, species: int, far: float) -> float:
    """Return the spreads above the rivals' mean that a share `far` of unknown background photos reaches."""
    bounds = np.array(list(statistics.bounds.values())) @ [1, 1 / max(species - 1, 1)]
    # Quantiles fitted one by one may cross far from the data: sorted (Chernozhukov et al., 2010).
    bounds = np.sort(bounds)[::-1]
    return float(np.interp(np.log(far), np.log(list(statistics.bounds)), bounds))


def compute_temperature(statistics: ImpostorStatistics, own: float) -> float:
    """Return the divisor of a gallery's logits for the mean of its own photos' scores; 0.05 to 20."""
    constant, slope = statistics.temperature
    return float(np.clip(np.exp(constant + slope * own), 0.05, 20))


def select_impostors(impostors: Sequence[ImpostorStatistics], shots: float) -> ImpostorStatistics:
    """Select the statistics whose number of photos per species is nearest to `shots`."""
    return min(impostors, key=lambda statistics: abs(np.log(statistics.shots / shots)))
