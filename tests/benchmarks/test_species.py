from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import species
from benchmarks.species_cache import SpeciesCache
from hmdrn_runtime.matching.index.index import SearchResult


@pytest.fixture
def stored(tmp_path):
    """Thirty species of four numbers each, in files."""
    random = np.random.default_rng(0)
    operators, sums = random.random((2, 30, 4)).astype(np.float32)
    shots = random.integers(1, 6, 30).astype(np.uint8)
    for name, array in (("operators.f32", operators), ("sums.f32", sums), ("shots.u8", shots)):
        (tmp_path / name).write_bytes(array.tobytes())
    return SpeciesCache(tmp_path, 4), operators, sums


def test_any_range_of_species_is_read_from_the_files(stored):
    cache, operators, sums = stored
    assert len(cache) == 30
    assert (cache.operators(7, 19) == operators[7:19]).all()
    assert (cache.sums(0, 12) == sums[:12]).all()


def test_a_wrong_best_species_and_a_wrong_probability_are_noticed(stored, monkeypatch):
    monkeypatch.setattr(species, "_PART", 7)
    cache, operators, _ = stored
    weights, grams = np.array([-1.0, -2, -3, -4]), np.random.default_rng(1).random((3, 4)).astype(np.float32)
    logits = (grams * weights) @ operators.astype(np.float64).T
    best = np.argsort(-logits, axis=1)[:, :5]
    exact = np.arange(30) < 15
    answers = [
        species.SearchSummary.of(SearchResult(scores, exact, b, {}))
        for b, scores in zip(best, logits, strict=True)
    ]
    facts = species._compare_with_exact(answers, weights, cache, grams, 30)
    assert facts["wrong_top5"] == 0
    assert facts["exact_share"] == 0.5
    assert facts["largest_error"] < 1e-12
    answers[1] = replace(answers[1], best=answers[1].best[::-1])
    answers[2] = replace(answers[2], probability=answers[2].probability + 0.01)
    facts = species._compare_with_exact(answers, weights, cache, grams, 30)
    assert facts["wrong_top5"] == 1
    assert facts["largest_error"] == pytest.approx(0.01)
