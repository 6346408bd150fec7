"""Measures of open-set recognition and of honest probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def auroc(known: Floats, unknown: Floats) -> float:
    """Return the chance that a known photo scores higher than an unknown one, 0-1 (Fawcett, 2006).

    Args:
        known: Scores (N,), N > 0; a tie counts half.
        unknown: Scores (M,), M > 0.
    """
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known, "left")
    tied = np.searchsorted(ordered, known, "right") - below
    return float((below + tied / 2).mean() / len(unknown))


def fpr_at_tpr(known: Floats, unknown: Floats, tpr: float = 0.95) -> float:
    """Return the share of unknown photos accepted where a share `tpr` of the known ones is, 0-1."""
    return float((unknown >= np.quantile(known, 1 - tpr, method="lower")).mean())


def expected_calibration_error(
    probabilities: Floats, correct: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Return the calibration error with bins of equal width, 0-1 (Guo et al., ICML 2017, eq. 3).

    Args:
        probabilities: Of the answers (N,), 0-1.
        correct: True for each right answer (N,).
        bins: Number of bins.
    """
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    # Each gap is already weighted by the bin's photos.
    gaps = [abs(probabilities[bin_of == b].sum() - correct[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(probabilities))


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the probabilities (B, C) of logits (B, C)."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
