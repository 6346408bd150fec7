from __future__ import annotations

import numpy as np
import pytest

from hmdrn_calibration.quantization.histograms import BINS, Extent, count, extent_of


def test_a_histogram_counts_as_numpy_does():
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    histogram = count(values, extent_of(values))
    expected, edges = np.histogram(values.astype(np.float64), BINS)
    assert np.abs(histogram.counts - expected).sum() <= 4, "a value on an edge may round to either bin"
    np.testing.assert_allclose(histogram.centres, (edges[1:] + edges[:-1]) / 2, atol=1e-12)


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [3.5] * 5, [1e-42, 3e-42], [1e8, np.nextafter(np.float32(1e8), np.float32(2e8))]],
    ids=["zero", "constant", "denormal", "neighbours"],
)
def test_a_tensor_of_tiny_range_is_counted_too(values):
    array = np.array(values, np.float32)
    assert count(array, extent_of(array)).counts.sum() == len(values)


def test_parts_counted_apart_are_the_whole():
    values = np.random.default_rng(1).exponential(size=999).astype(np.float32)
    extent = extent_of(values[:500]).joined(extent_of(values[500:]))
    assert extent == extent_of(values)
    parts = count(values[:500], extent).joined(count(values[500:], extent))
    np.testing.assert_array_equal(parts.counts, count(values, extent).counts)


def test_values_outside_the_extent_count_at_its_ends():
    counts = count(np.array([-9, 0.5, 9], np.float32), Extent(0, 1)).counts
    assert (counts[0], counts[-1], counts.sum()) == (1, 1, 3)
