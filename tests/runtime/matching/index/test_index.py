from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.matching.index import blocks
from hmdrn_runtime.matching.index import index as searching
from hmdrn_runtime.matching.index.index import Index
from hmdrn_runtime.matching.index.projection import Basis, fit_basis

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


def basis_of(operators: np.ndarray, grams: np.ndarray, rank: int) -> Basis:
    folding = Index(NETWORK).folding
    return fit_basis(operators * folding.operator, (grams * folding.gram).astype(np.float32), rank)


@pytest.fixture(autouse=True)
def few_are_refined(monkeypatch):
    """So that what is excluded is excluded by the bounds."""
    monkeypatch.setattr(searching, "REFINED", 4)
    monkeypatch.setattr(blocks, "ROWS", 64)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rank=st.sampled_from([0, 1, 5, 20, 56]),
    top=st.integers(1, 8),
    spread=st.sampled_from([1e-4, 0.05, 1.0]),
)
def test_the_best_classes_are_those_of_the_full_product_in_float64(seed, rank, top, spread):
    operators, grams = classes_and_photos(seed, 150, 3, spread)
    index = Index(NETWORK, basis_of(operators, grams, rank) if rank else None)
    index.add(operators)
    classes = index.classes(np.arange(150))
    for gram in grams:
        found, expected = classes.search(gram, top), reference(operators, gram)
        best = np.argsort(-expected, kind="stable")[:top]
        # What float64 itself cannot tell apart may stand in either order.
        assert expected[found.best] == pytest.approx(expected[best], rel=1e-12)
        assert found.logits[found.best] == pytest.approx(expected[best], rel=1e-12)
        assert (np.delete(found.logits, found.best) <= found.logits[found.best].min() + 1e-9).all()


def test_most_classes_are_excluded_without_being_computed():
    operators, grams = classes_and_photos(1, 2000, 20)
    index = Index(NETWORK, basis_of(operators, grams, 30))
    index.add(operators)
    shares = [index.classes(np.arange(2000)).search(gram, 5).exact.mean() for gram in grams]
    assert 0 < np.mean(shares) < 0.3


def test_every_estimate_is_within_its_bound_even_with_directions_chosen_for_other_species():
    others = classes_and_photos(2, 300, 50)
    operators, grams = classes_and_photos(3, 300, 20)
    index = Index(NETWORK, basis_of(*others, 12))
    index.add(operators)
    classes = index.classes(np.arange(300))
    for gram in grams:
        wide = gram.astype(np.float64)
        folded, plain = wide * index.folding.gram, (wide * index.folding.plain).astype(np.float32)
        estimates, bounds = classes._estimates(folded, plain)
        assert (np.abs(estimates - reference(operators, gram)) <= bounds).all()


def test_useless_directions_cost_time_and_not_answers():
    operators, grams = classes_and_photos(4, 200, 3)
    size = NETWORK.packed
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((size, 2)))[0].T.astype(np.float32)
    index = Index(NETWORK, Basis.of(np.ascontiguousarray(axes), np.zeros(size), np.zeros(size)))
    index.add(operators)
    for gram in grams:
        found = index.classes(np.arange(200)).search(gram, 5)
        assert list(found.best) == list(np.argsort(-reference(operators, gram))[:5])
        assert found.exact.mean() > 0.5


def test_equal_species_are_ranked_in_their_order():
    operators, grams = classes_and_photos(5, 40, 1)
    index = Index(NETWORK, basis_of(operators, grams, 10))
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
    index = Index(NETWORK, basis_of(operators, grams, 10))
    before = index.classes(index.add(operators[:70]))
    expected = before.search(grams[0], 5)
    index.add(operators[70:])
    again = before.search(grams[0], 5)
    assert (again.logits == expected.logits).all()
    assert list(again.best) == list(expected.best)


def test_species_in_any_slots_and_order_are_answered_in_that_order():
    operators, grams = classes_and_photos(8, 200, 1)
    index = Index(NETWORK, basis_of(operators, grams, 10))
    index.add(operators)
    slots = np.random.default_rng(1).permutation(200)[:90]
    found = index.classes(slots).search(grams[0], 5)
    assert list(found.best) == list(np.argsort(-reference(operators[slots], grams[0]))[:5])


def test_operators_in_mapped_files_answer_as_those_in_memory():
    operators, grams = classes_and_photos(9, 200, 2)
    basis = basis_of(operators, grams, 10)
    memory, mapped = Index(NETWORK, basis), Index(NETWORK, basis, mapped_from=1)
    for index in (memory, mapped):
        index.add(operators)
    assert isinstance(next(reversed(list(mapped.blocks())))[0].operators, np.memmap)
    for gram in grams:
        one, other = (index.classes(np.arange(200)).search(gram, 5) for index in (memory, mapped))
        assert (one.logits == other.logits).all()
        assert list(one.best) == list(other.best)


def test_axes_that_are_not_quite_orthonormal_widen_the_bounds():
    operators, grams = classes_and_photos(10, 100, 10)
    good = basis_of(operators, grams, 10)
    bent = Basis.of(good.axes * np.float32(1.01), good.operator, good.gram)
    assert bent.skew > 100 * good.skew
    index = Index(NETWORK, bent)
    index.add(operators)
    for gram in grams:
        best = index.classes(np.arange(100)).search(gram, 5).best
        assert list(best) == list(np.argsort(-reference(operators, gram))[:5])
