"""Fitting what tells known photos from unknown ones, and what makes probabilities honest.

*Score*: how much better the best enrolled species explains a photo than the best background species
(`hmdrn_runtime.background.scores`; cohort normalisation, Sturim and Reynolds, ICASSP 2005).
*Threshold*: galleries differ in how near their impostors come, so each brings its own: every enrolled
photo, compared with all species but its own, is an impostor of the very kind that the device will meet.
Their mean and deviation place the scale, and quantiles of impostors on background species, on that scale,
say how far above a false-accept rate is reached. With few photos of its own a gallery leans on the
background's mean and deviation.
*Temperature*: one number divides the logits, fitted by likelihood (Guo et al., ICML 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.measures import softmax
from hmdrn_runtime.background import Background, Calibration, Impostors, scores
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.matching import Matcher, RidgeMatcher
from hmdrn_runtime.species import Species
from hmdrn_runtime.statistics import Float32

PRIOR = 1
"""Photos' worth of trust in the background's mean and deviation against the gallery's own."""
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""False-accept rates whose bounds are kept; others are interpolated between them."""

Floats = npt.NDArray[np.float64]


def calibrate(
    matcher: Matcher, species: Mapping[str, Species], background: Background, far: float
) -> Calibration:
    """Fit a gallery's threshold and temperature.

    Args:
        matcher: Of a ridge network.
        species: The gallery's, at least one.
        background: The bundle's.
        far: Share of unknown photos that may be taken for known, from 0.01 to 0.5.

    Raises:
        GalleryError: The rate is out of range, the gallery is empty, or its photos cannot be compared.
    """
    if not RATES[0] <= far <= RATES[-1]:
        raise GalleryError(f"a false-accept rate of {far} is out of range: choose {RATES[0]} to {RATES[-1]}")
    if not species:
        raise GalleryError("an empty gallery cannot be calibrated: enroll photos of a species first")
    if not isinstance(matcher, RidgeMatcher):
        raise GalleryError(
            "a bundle with the attention head keeps nothing to compare enrolled photos by: "
            "unknowns need a bundle with the ridge head"
        )
    classes = list(species.values())
    photos = [photo for s in classes for photo in s.photos.values()]
    own = np.repeat(np.arange(len(classes)), [len(s.photos) for s in classes])
    found = np.zeros(0)
    if photos and len(classes) > 1:
        logits = matcher.compare(photos, {}, classes)
        found = own_impostors(logits, own, matcher.match(photos, background.operators).logits)
    statistics = nearest_impostors(background.impostors, float(np.median([s.shots for s in classes])))
    return Calibration(threshold(found, statistics, far), statistics.temperature, far)


def own_impostors(logits: Float32, own: npt.NDArray[np.int64], background: Float32) -> Floats:
    """Scores of a gallery's photos as if their own species were not in it.

    Args:
        logits: Of its photos for its species (N, C), C at least 2.
        own: The species of each photo (N,).
        background: Of its photos for the background species (N, B).
    """
    others = logits.copy()
    others[np.arange(len(others)), own] = -np.inf
    return scores(others, background)


def scale(found: Floats, mean: float, deviation: float) -> tuple[float, float]:
    """Mean and deviation of a gallery's impostors, drawn towards the background's where they are few."""
    if not len(found):
        return mean, deviation
    share = len(found) / (len(found) + PRIOR)
    variance = share * found.var() + (1 - share) * deviation**2
    return float(share * found.mean() + (1 - share) * mean), float(np.sqrt(variance))


def threshold(found: Floats, statistics: Impostors, far: float) -> float:
    """Score that a share `far` of unknown photos reaches."""
    mean, deviation = scale(found, statistics.mean, statistics.deviation)
    rates = np.log(list(statistics.bounds))
    bound = np.interp(np.log(far), rates, list(statistics.bounds.values()))
    return float(mean + bound * deviation)


def fit_temperature(
    logits: Sequence[npt.NDArray[np.floating]], truth: Sequence[npt.NDArray[np.int64]]
) -> float:
    """The temperature of greatest likelihood, 0.05 to 20.

    Args:
        logits: Of photos for species, (B, C) each.
        truth: The species that each photo shows, (B,) each.
    """

    def loss(log_temperature: float) -> float:
        total = 0.0
        for one, right in zip(logits, truth, strict=True):
            p = softmax(np.asarray(one, np.float64) / np.exp(log_temperature))
            total -= float(np.log(np.maximum(p[np.arange(len(p)), right], 1e-300)).sum())
        return total

    low, high = np.log(0.05), np.log(20.0)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(40):  # the loss is convex in 1 / T, hence has one valley in log T
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def nearest_impostors(impostors: Sequence[Impostors], shots: float) -> Impostors:
    """The statistics of the number of photos a species that is nearest to `shots`."""
    return min(impostors, key=lambda one: abs(np.log(one.shots / shots)))
