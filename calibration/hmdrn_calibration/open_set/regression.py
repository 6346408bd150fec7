"""Linear quantiles, and temperatures that make probabilities honest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.open_set.metrics import softmax

Floats = npt.NDArray[np.float64]


def fit_quantile(inputs: Floats, values: Floats, weights: Floats, quantile: float) -> Floats:
    """Fit the linear function of greatest likelihood for a quantile, by the MM algorithm.

    Koenker and Bassett, Econometrica 1978; Hunter and Lange, J. Comp. Graph. Stat. 2000.

    Args:
        inputs: (N, D); inputs that do not vary get the coefficient 0.
        values: (N,).
        weights: (N,), above 0.
        quantile: 0-1.

    Returns:
        A constant and D coefficients, (1 + D,).
    """
    center = np.average(inputs, axis=0, weights=weights)
    x = np.column_stack([np.ones(len(inputs)), inputs - center])
    coefficients = np.zeros(x.shape[1])
    coefficients[0] = np.quantile(values, quantile)
    pull = (2 * quantile - 1) * (weights @ x)
    for _ in range(200):
        share = weights / (1e-3 + np.abs(values - x @ coefficients))
        square = (x * share[:, None]).T @ x
        step = np.linalg.lstsq(square, x.T @ (share * values) + pull, rcond=1e-10)[0] - coefficients
        coefficients += step
        if np.abs(step).max() < 1e-5:
            break
    coefficients[0] -= center @ coefficients[1:]
    return coefficients


def fit_temperature(
    logits: Sequence[npt.NDArray[np.floating]],
    truth: Sequence[npt.NDArray[np.int64]],
    own: Sequence[float] | None = None,
) -> tuple[float, float]:
    """Fit the logarithm of the temperature as a linear function, by likelihood.

    Args:
        logits: Of photos for species, (B, C) for each of E galleries; all galleries count alike.
        truth: The species that each photo shows, (B,) each.
        own: Input of the function, (E,); the temperature is constant if None or if all are equal.

    Returns:
        The constant and the coefficient of `own`.
    """
    values = np.zeros(len(logits)) if own is None else np.asarray(own, np.float64)
    center, width = float(values.mean()), float(values.std())
    varies = width > 1e-9
    unit = (values - center) / width if varies else np.zeros(len(values))
    galleries = [np.asarray(gallery, np.float64) for gallery in logits]

    def loss(constant: float, slope: float) -> float:
        total = 0.0
        for gallery, species, x in zip(galleries, truth, unit, strict=True):
            p = softmax(gallery / np.exp(constant + slope * x))
            total -= float(np.log(np.maximum(p[np.arange(len(p)), species], 1e-300)).mean())
        return total

    constant = slope = 0.0
    for _ in range(3 if varies else 1):  # in turns: centered, the two hardly depend on each other
        constant = _minimize(partial(loss, slope=slope), np.log(0.05), np.log(20))
        if varies:
            slope = _minimize(partial(loss, constant), -1.0, 1.0)
    slope = slope / width if varies else 0.0
    return constant - slope * center, slope


def _minimize(loss: Callable[[float], float], low: float, high: float) -> float:
    """Find the minimum of a function with a single valley by golden-section search."""
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(25):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float((low + high) / 2)
