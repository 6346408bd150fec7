from __future__ import annotations

import numpy as np
import pytest

from hmdrn_calibration.quantization.histogram_cache import cache_key, cached, default_folder
from hmdrn_calibration.quantization.histograms import count, extent_of


@pytest.fixture
def histograms():
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(500).astype(np.float32) for name in ("a/Relu", "b")}
    return {name: count(values, extent_of(values)) for name, values in arrays.items()}


def same(one, other):
    return set(one) == set(other) and all(
        one[name].extent == other[name].extent and (one[name].counts == other[name].counts).all()
        for name in one
    )


def fails():
    raise AssertionError("observed although it was cached")


def test_what_was_observed_once_is_not_observed_again(tmp_path, histograms):
    made, hit = cached(tmp_path / "new", "key", lambda: histograms)
    assert not hit
    found, hit = cached(tmp_path / "new", "key", fails)
    assert hit
    assert same(made, histograms)
    assert same(found, histograms)


def test_without_a_folder_nothing_is_kept(histograms):
    assert cached(None, "key", lambda: histograms) == (histograms, False)


def test_a_damaged_cache_is_observed_anew(tmp_path, histograms):
    cached(tmp_path, "key", lambda: histograms)
    path = tmp_path / "key.npz"
    for damage in (path.read_bytes()[:100], b"", b"not a zip"):
        path.write_bytes(damage)
        found, hit = cached(tmp_path, "key", lambda: histograms)
        assert not hit
        assert same(found, histograms)
        assert cached(tmp_path, "key", fails)[1]


def test_a_cache_with_a_changed_byte_is_read_as_it_was_or_observed_anew(tmp_path, histograms):
    cached(tmp_path, "key", lambda: histograms)
    path = tmp_path / "key.npz"
    content = path.read_bytes()
    for i in range(0, len(content), 31):
        path.write_bytes(content[:i] + bytes([content[i] ^ 0xFF]) + content[i + 1 :])
        assert same(cached(tmp_path, "key", lambda: histograms)[0], histograms)


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path, histograms):
    (tmp_path / "file").write_text("")
    assert same(cached(tmp_path / "file" / "folder", "key", lambda: histograms)[0], histograms)


def test_the_key_depends_on_graphs_data_and_settings():
    key = cache_key({"a": "1"}, "data", {"episodes": 16})
    assert len(key) == 64
    assert key == cache_key({"a": "1"}, "data", {"episodes": 16})
    others = [
        cache_key({"a": "2"}, "data", {"episodes": 16}),
        cache_key({"a": "1"}, "other", {"episodes": 16}),
        cache_key({"a": "1"}, "data", {"episodes": 17}),
    ]
    assert len({key, *others}) == 4


def test_the_users_cache_folder_is_respected(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "hmdrn" / "calibration"
