"""Fitting what tells known photos from unknown ones, and what makes probabilities honest.

*Score*: how much better the best enrolled species explains a photo than the best background species
(`hmdrn_runtime.open_set.background.scores`; cohort normalisation, Sturim and Reynolds, ICASSP 2005).
*Threshold*: galleries differ in how near their impostors come. Two things tell beforehand: of more species
the best comes nearer, and where photos hardly fit their own species (leave-one-out), strangers fit as badly.
The quantile of impostors' scores is a linear function of both, fitted on galleries of background species
(quantile regression: Koenker and Bassett, Econometrica 1978). Own scores of few photos are noisy, and noise
flattens slopes: the fit takes their means over galleries of one kind (two-stage: Amemiya, Econometrica 1982).
A network knows the species that it was trained on better than others; a gallery of new ones shows it by its
own scores, and gets the threshold of galleries that are as hard.
*Temperature*: a number divides the logits, fitted by likelihood (Guo et al., ICML 2017); its logarithm is a
linear function of the own scores too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.open_set.metrics import softmax
from hmdrn_runtime.enrollment.leave_one_out import leave_one_out
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.photo_statistics import Float32
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.base import Matcher
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, Impostors, cohort
from hmdrn_runtime.open_set.threshold import Calibration

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
    statistics = nearest_impostors(background.impostors, float(np.median([s.shots for s in classes])))
    own = own_scores(matcher, classes, background.operators)
    mean = float(own.mean()) if len(own) else statistics.own
    bound = threshold(statistics, len(classes), mean, far)
    return Calibration(bound, temperature(statistics, mean), far, background.digest)


def own_scores(matcher: RidgeMatcher, classes: Sequence[Species], operators: Float32) -> Floats:
    """Scores of enrolled photos for their own species, each left out of it; of species of several photos.

    Args:
        matcher: Of a ridge network.
        classes: The species of a gallery.
        operators: Of the background species (B, P).
    """
    return np.concatenate([np.zeros(0), *(_scores(matcher, species, operators) for species in classes)])


def _scores(matcher: RidgeMatcher, species: Species, operators: Float32) -> Floats:
    """The `own_scores` of one species."""
    logits = leave_one_out(matcher, species, {})
    if not logits:
        return np.zeros(0)
    photos = [species.photos[digest] for digest in logits]
    return np.array(list(logits.values())) - cohort(matcher.match(photos, operators).logits)


@dataclass(frozen=True)
class Passing:
    """How many enrolled photos their own species explains well enough to count as known without them.

    Attributes:
        known: Photos that do, by label.
        judged: Photos that could be left out, by label: 0 for a species of one photo, or of a sum.
    """

    known: Mapping[str, int]
    judged: Mapping[str, int]

    @property
    def none(self) -> tuple[str, ...]:
        """The species of which photos were judged, and none passes."""
        return tuple(label for label, photos in self.judged.items() if photos and not self.known[label])

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The species of which no photo could be judged."""
        return tuple(label for label, photos in self.judged.items() if not photos)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        rows = [
            {"label": label, "known": self.known[label], "of": photos}
            for label, photos in self.judged.items()
        ]
        return {"known": sum(self.known.values()), "of": sum(self.judged.values()), "species": rows}


def passing(
    matcher: RidgeMatcher, species: Mapping[str, Species], operators: Float32, threshold: float
) -> Passing:
    """What a threshold costs: which of a gallery's own photos pass, each left out of its species.

    Args:
        matcher: Of a ridge network.
        species: The gallery's.
        operators: Of the background species (B, P).
        threshold: Score from which a photo counts as known.
    """
    found = {label: _scores(matcher, one, operators) for label, one in species.items()}
    known = {label: int((own >= threshold).sum()) for label, own in found.items()}
    return Passing(known, {label: len(own) for label, own in found.items()})


def threshold(statistics: Impostors, species: int, own: float, far: float) -> float:
    """Score that a share `far` of unknown photos reaches.

    Args:
        statistics: Of galleries of as many photos a species.
        species: Number of species of the gallery.
        own: Mean of its `own_scores`.
        far: The rate, 0-1.
    """
    bounds = np.array(list(statistics.bounds.values())) @ [1, np.log(species), own]
    # Quantiles fitted one by one may cross far from the data: sorted (Chernozhukov et al., 2010).
    bounds = np.sort(bounds)[::-1]
    return float(np.interp(np.log(far), np.log(list(statistics.bounds)), bounds))


def temperature(statistics: Impostors, own: float) -> float:
    """What to divide the logits of a gallery by whose `own_scores` have a mean; 0.05 to 20."""
    constant, slope = statistics.temperature
    return float(np.clip(np.exp(constant + slope * own), 0.05, 20))


def fit_quantile(inputs: Floats, values: Floats, weights: Floats, quantile: float) -> Floats:
    """The linear function of greatest likelihood for a quantile, by the MM algorithm.

    Koenker and Bassett, Econometrica 1978; Hunter and Lange, J. Comp. Graph. Stat. 2000.

    Args:
        inputs: (N, D); what does not vary gets the coefficient 0.
        values: (N,).
        weights: (N,), above 0.
        quantile: 0-1.

    Returns:
        A constant and D coefficients.
    """
    middle = np.average(inputs, axis=0, weights=weights)
    x = np.column_stack([np.ones(len(inputs)), inputs - middle])
    found = np.zeros(x.shape[1])
    found[0] = np.quantile(values, quantile)
    pull = (2 * quantile - 1) * (weights @ x)
    for _ in range(200):
        share = weights / (1e-3 + np.abs(values - x @ found))
        square = (x * share[:, None]).T @ x
        step = np.linalg.lstsq(square, x.T @ (share * values) + pull, rcond=1e-10)[0] - found
        found += step
        if np.abs(step).max() < 1e-5:
            break
    found[0] -= middle @ found[1:]
    return found


def fit_temperature(
    logits: Sequence[npt.NDArray[np.floating]],
    truth: Sequence[npt.NDArray[np.int64]],
    own: Sequence[float] | None = None,
) -> tuple[float, float]:
    """The logarithm of the temperature of greatest likelihood, as a linear function.

    Args:
        logits: Of photos for species, (B, C) for each of E galleries; all count alike.
        truth: The species that each photo shows, (B,) each.
        own: What it may depend on, (E,); nothing if None or if all are the same.

    Returns:
        The constant and the coefficient of `own`.
    """
    values = np.zeros(len(logits)) if own is None else np.asarray(own, np.float64)
    middle, width = float(values.mean()), float(values.std())
    unit = (values - middle) / width if width > 1e-9 else np.zeros(len(values))
    wide = [np.asarray(one, np.float64) for one in logits]

    def loss(constant: float, slope: float) -> float:
        total = 0.0
        for one, right, at in zip(wide, truth, unit, strict=True):
            p = softmax(one / np.exp(constant + slope * at))
            total -= float(np.log(np.maximum(p[np.arange(len(p)), right], 1e-300)).mean())
        return total

    constant = slope = 0.0
    for _ in range(3 if width > 1e-9 else 1):  # by turns: the two hardly depend on each other, being centred
        constant = _lowest(lambda value, s=slope: loss(value, s), np.log(0.05), np.log(20))  # type: ignore[misc]
        if width > 1e-9:
            slope = _lowest(lambda value, c=constant: loss(c, value), -1.0, 1.0)  # type: ignore[misc]
    slope = slope / width if width > 1e-9 else 0.0
    return constant - slope * middle, slope


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is lowest, by golden sections."""
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(25):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float((low + high) / 2)


def nearest_impostors(impostors: Sequence[Impostors], shots: float) -> Impostors:
    """The statistics of the number of photos a species that is nearest to `shots`."""
    return min(impostors, key=lambda one: abs(np.log(one.shots / shots)))
