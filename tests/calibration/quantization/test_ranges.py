"""The range methods beside plain NumPy on the values themselves, which a histogram only approximates."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_calibration.quantization.histograms import BINS, count, extent_of
from hmdrn_calibration.quantization.ranges import METHODS, PERCENTILE


def samples(kind):
    rng = np.random.default_rng(3)
    values = rng.standard_t(3, 60_000) if kind == "two-sided" else np.maximum(rng.standard_t(3, 60_000), 0)
    return values.astype(np.float32)


def fake_quantised(values, low, high, symmetric):
    """Rounding to an 8-bit grid, written once more from the ONNX standard's words."""
    low, high = min(low, 0), max(high, 0)
    if symmetric:
        scale = max(-low, high) / 127
        return np.clip(np.round(values / scale), -128, 127) * scale
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale


def histogram_of(values):
    return count(values, extent_of(values))


@pytest.mark.parametrize("kind", ["one-sided", "two-sided"])
def test_minmax_is_all_that_was_seen(kind):
    values = samples(kind)
    found = METHODS["minmax"](histogram_of(values), False)
    assert (found.low, found.high) == (values.min(), values.max())


@pytest.mark.parametrize("kind", ["one-sided", "two-sided"])
def test_percentile_is_the_quantile_of_the_values(kind):
    values = samples(kind)
    found = METHODS["percentile"](histogram_of(values), False)
    tail = (1 - PERCENTILE / 100) / 2
    bin_width = float(values.max() - values.min()) / BINS
    assert found.low == pytest.approx(np.quantile(values, tail), abs=2 * bin_width)
    assert found.high == pytest.approx(np.quantile(values, 1 - tail), abs=2 * bin_width)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["one-sided", "two-sided"])
def test_mse_is_as_good_as_the_best_of_a_brute_force_search(kind, symmetric):
    values = samples(kind)
    found = METHODS["mse"](histogram_of(values), symmetric)

    def error(low, high):
        return np.square(fake_quantised(values.astype(np.float64), low, high, symmetric) - values).mean()

    low, high = float(values.min()), float(values.max())
    fractions = np.linspace(0.05, 1, 40)
    if symmetric:
        reach = max(-low, high)
        best = min(error(-f * reach, f * reach) for f in fractions)
    else:
        best = min(error(a * low, b * high) for a in fractions for b in fractions)
    assert error(found.low, found.high) <= 1.05 * best


@pytest.mark.parametrize("symmetric", [False, True])
def test_entropy_finds_the_range_of_least_divergence_by_loops(symmetric):
    values = samples("one-sided")
    histogram = histogram_of(values)
    found = METHODS["entropy"](histogram, symmetric)

    def divergence(high):
        """Kullback-Leibler as in NVIDIA's description, bin by bin."""
        scale = high / (127 if symmetric else 255)
        top = 127 if symmetric else 255
        p = np.zeros(BINS)
        inside = [i for i, c in enumerate(histogram.centres) if c <= (top + 0.5) * scale]
        for i, n in enumerate(histogram.counts):
            p[i if i in range(len(inside)) else inside[-1]] += n
        levels = {}
        for i in inside:
            if p[i] > 0:
                levels.setdefault(min(round(histogram.centres[i] / scale), top), []).append(i)
        q = np.zeros(BINS)
        for members in levels.values():
            q[members] = sum(histogram.counts[i] for i in members) / len(members)
        p, q = p / p.sum(), q / q.sum()
        there = p > 0
        return np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-12)))

    candidates = np.linspace(0.2, 1.0, 17) * values.max()
    assert divergence(found.high) <= min(map(divergence, candidates)) + 1e-9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("values", [[0.0, 0.0], [2.5] * 4, [1e-42, 3e-42], [-1.0, 1.0]])
def test_every_method_gives_a_usable_grid_for_tensors_of_tiny_range(method, symmetric, values):
    array = np.array(values, np.float32)
    made = METHODS[method](histogram_of(array), symmetric).grid(symmetric)
    assert np.isfinite(made.scale)
    assert made.scale > 0
    assert np.abs(made.rounded(array) - array).max() <= made.scale


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_an_outlier_is_clipped(method):
    values = np.append(np.random.default_rng(0).standard_normal(200_000), 60.0).astype(np.float32)
    assert METHODS[method](histogram_of(values), False).high < 50
