from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.matching.index import blocks, codes
from hmdrn_runtime.matching.index.index import Index

LEVELS = (Level("high", 8, 25), Level("mid", 6, 100))
NETWORK = Network("f" * 64, "conv4", "ridge", LEVELS, Fusion({"high": 3.3, "mid": 0.23}, 10.0, 200.0), "gram")


def packed(tokens: np.ndarray, doubled: bool) -> np.ndarray:
    """Upper triangles of tokens' Gram matrices (N, T, d), row by row."""
    grams = np.einsum("ntc,ntd->ncd", tokens, tokens)
    rows, columns = np.triu_indices(tokens.shape[2])
    return grams[:, rows, columns] * (np.where(rows == columns, 1, 2) if doubled else 1)


def classes_and_photos(seed: int, count: int, photos: int, spread: float = 0.3):
    """Operators of clustered classes and Gram matrices of photos, float32."""
    random = np.random.default_rng(seed)
    found = []
    for number, doubled in ((count, True), (photos, False)):
        parts = []
        for level in LEVELS:
            centres = random.standard_normal((7, level.channels, level.channels))
            noise = random.standard_normal((number, level.channels, level.channels))
            parts.append(packed(centres[random.integers(0, 7, number)] + spread * noise, doubled))
        found.append(np.concatenate(parts, axis=1).astype(np.float32))
    return found


def reference(operators: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """The logits as docs/how-it-works.md has them, in float64."""
    total, start = np.zeros(len(operators)), 0
    for level in LEVELS:
        part = slice(start, start + level.packed)
        distance = operators[:, part].astype(np.float64) @ gram[part].astype(np.float64)
        total += NETWORK.fusion.weights[level.name] * distance
        start += level.packed
    return -total * NETWORK.fusion.scale / NETWORK.fusion.divisor


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few classes take several blocks, and several groups of codes."""
    monkeypatch.setattr(blocks, "ROWS", 64)
    monkeypatch.setattr(codes, "GROUP", 16)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    top=st.integers(1, 8),
    spread=st.sampled_from([0.0, 1e-9, 1e-4, 0.05, 1.0]),
    part=st.sampled_from([1, 7, 64, 150]),
)
def test_the_best_classes_are_those_of_the_full_product_in_float64(seed, top, spread, part):
    operators, grams = classes_and_photos(seed, 150, 3, spread)
    index = Index(NETWORK)
    for i in range(0, 150, part):
        index.add(operators[i : i + part])
    classes = index.classes(np.arange(150))
    for gram in grams:
        found, expected = classes.search(gram, top), reference(operators, gram)
        best = np.argsort(-expected, kind="stable")[:top]
        # Values that are equal in float64 may be in either order.
        assert expected[found.best] == pytest.approx(expected[best], rel=1e-12)
        assert found.logits[found.best] == pytest.approx(expected[best], rel=1e-12)
        assert (np.delete(found.logits, found.best) <= found.logits[found.best].min() + 1e-9).all()


def test_most_classes_are_excluded_without_being_computed():
    operators, grams = classes_and_photos(1, 2000, 20)
    index = Index(NETWORK)
    index.add(operators)
    shares = [index.classes(np.arange(2000)).search(gram, 5).exact.mean() for gram in grams]
    assert 0 < np.mean(shares) < 0.02


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1.0, 1e6]), first=st.sampled_from([1, 300]))
def test_estimates_are_within_their_bounds(seed, scale, first):
    operators, grams = classes_and_photos(seed, 300, 5)
    operators[0] *= np.float32(scale)
    index = Index(NETWORK)
    for part in (operators[:first], operators[first:]):
        index.add(part)
    classes = index.classes(np.arange(300))
    for gram in grams:
        estimates, bounds = classes._estimates(gram.astype(np.float64) * index.folding.gram)
        assert (np.abs(estimates - reference(operators, gram)) <= bounds).all()


def test_the_softmax_over_estimates_is_that_of_the_full_product():
    operators, grams = classes_and_photos(4, 1000, 20)
    index = Index(NETWORK)
    index.add(operators)
    for gram in grams:
        found, expected = index.classes(np.arange(1000)).search(gram, 5), reference(operators, gram)
        assert not found.exact.all()
        shares = [np.exp(values - values.max()) for values in (found.logits, expected)]
        best, right = (share.max() / share.sum() for share in shares)
        assert best == pytest.approx(right, rel=0.02)


def test_equal_species_are_ranked_in_their_order():
    operators, grams = classes_and_photos(5, 40, 1)
    index = Index(NETWORK)
    slots = index.add(np.concatenate([operators, operators]))
    best = index.classes(slots).search(grams[0], 4).best
    assert best[1] == best[0] + 40
    assert best[3] == best[2] + 40


def test_distances_of_the_best_are_those_of_each_level():
    operators, grams = classes_and_photos(6, 100, 1)
    index = Index(NETWORK)
    found = index.classes(index.add(operators)).search(grams[0], 3)
    start = 0
    for level in LEVELS:
        part = slice(start, start + level.packed)
        expected = operators[found.best, part].astype(np.float64) @ grams[0, part].astype(np.float64)
        assert found.distances[level.name] == pytest.approx(expected, rel=1e-12)
        start += level.packed


def test_what_is_added_later_is_not_seen_by_an_earlier_generation():
    operators, grams = classes_and_photos(7, 300, 1)
    index = Index(NETWORK)
    before = index.classes(index.add(operators[:70]))
    expected = before.search(grams[0], 5)
    index.add(operators[70:])
    again = before.search(grams[0], 5)
    assert (again.logits == expected.logits).all()
    assert list(again.best) == list(expected.best)


def test_species_in_any_slots_and_order_are_answered_in_that_order():
    operators, grams = classes_and_photos(8, 200, 1)
    index = Index(NETWORK)
    index.add(operators)
    slots = np.random.default_rng(1).permutation(200)[:90]
    found = index.classes(slots).search(grams[0], 5)
    assert list(found.best) == list(np.argsort(-reference(operators[slots], grams[0]))[:5])


def test_operators_in_mapped_files_answer_as_those_in_memory():
    operators, grams = classes_and_photos(9, 200, 2)
    memory, mapped = Index(NETWORK), Index(NETWORK, mapped_from=1)
    for index in (memory, mapped):
        index.add(operators)
    assert isinstance(mapped.classes(np.arange(1)).blocks[-1].operators, np.memmap)
    for gram in grams:
        one, other = (index.classes(np.arange(200)).search(gram, 5) for index in (memory, mapped))
        assert (one.logits == other.logits).all()
        assert list(one.best) == list(other.best)
