"""How well unknowns are told apart, and how honest probabilities are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def auroc(known: Floats, unknown: Floats) -> float:
    """Chance that a known photo scores higher than an unknown one, ties half, 0-1 (Fawcett 2006).

    Args:
        known: Scores (N,), N > 0.
        unknown: Scores (M,), M > 0.
    """
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known, "left")
    tied = np.searchsorted(ordered, known, "right") - below
    return float((below + tied / 2).mean() / len(unknown))


def false_accepts(known: Floats, unknown: Floats, accepted: float = 0.95) -> float:
    """Share of unknown photos accepted where a share `accepted` of the known ones is, 0-1."""
    return float((unknown >= np.quantile(known, 1 - accepted, method="lower")).mean())


def calibration_error(probabilities: Floats, right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error with bins of equal width (Guo et al., ICML 2017, eq. 3), 0-1.

    Args:
        probabilities: Of the answers (N,), 0-1.
        right: Whether each answer was right (N,).
        bins: Number of bins.
    """
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [
        abs(probabilities[bin_of == b].sum() - right[bin_of == b].sum()) for b in range(bins)
    ]  # each is already weighted by the bin's photos
    return float(sum(gaps) / len(probabilities))


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Probabilities (B, C) of logits (B, C)."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
