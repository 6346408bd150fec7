"""A gallery that counts as large answers as one that does not."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.matching.base import IndexedOperands
from hmdrn_runtime.matching.index import species_index
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def opened(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    return bundle, open_backend(bundle, threads=1)


@pytest.fixture(scope="module")
def plain(opened):
    """A recognizer of 24 species that are matched within the graph, and photos of some of them."""
    one = Recognizer(*opened)
    images = draw_specimens(range(24), 3, size=84)
    for i, photos in enumerate(images):
        one.enroll(f"species {i:02}", list(photos[: 1 + i % 2]))
    return one, [photos[2] for photos in images[:6]]


@pytest.fixture
def large(monkeypatch):
    """Makes galleries of a dozen species count as large."""
    monkeypatch.setattr("hmdrn_runtime.matching.ridge.MIN_INDEXED", 5)


def equal(one, other):
    assert one.label == other.label
    assert [m.label for m in one.ranking] == [m.label for m in other.ranking]
    assert one.probability == pytest.approx(other.probability, abs=2e-3)
    for mine, theirs in zip(one.ranking, other.ranking, strict=True):
        assert mine.logit == pytest.approx(theirs.logit, rel=1e-4)
        assert mine.distances == pytest.approx(dict(theirs.distances), rel=1e-3)


def test_a_large_gallery_ranks_as_a_small_one(opened, plain, large):
    known, photos = plain
    one = Recognizer(*opened, known.gallery)
    for photo in photos:
        equal(one.classify(photo), known.classify(photo))
    assert isinstance(one.solved_gallery.current().operands, IndexedOperands)


def test_the_whole_ranking_is_exact_where_it_is_asked_for(opened, plain, large):
    known, photos = plain
    one = Recognizer(*opened, known.gallery)
    equal(one.classify(photos[0], top=24), known.classify(photos[0], top=24))
    assert one.classify(photos[0], top=24).probability == pytest.approx(
        known.classify(photos[0]).probability, abs=1e-5
    )


def test_several_photos_at_once_are_answered_as_one_by_one(opened, plain, large):
    known, photos = plain
    one = Recognizer(*opened, known.gallery)
    for batched, single in zip(one.classify_batch(photos), map(one.classify, photos), strict=True):
        equal(batched, single)


def test_enrolling_and_forgetting_solve_no_species_again(opened, plain, large, monkeypatch):
    known, photos = plain
    one = Recognizer(*opened)
    one.gallery.merge(known.gallery)
    one.classify(photos[0])
    solved: list[int] = []
    solve = one.matcher.solve
    monkeypatch.setattr(one.matcher, "solve", lambda g, *of: (solved.append(len(g)), solve(g, *of))[1])
    one.enroll("newcomer", [photos[1]])
    assert one.classify(photos[1]).label == "newcomer"
    assert sum(solved) == 1
    one.forget("newcomer")
    equal(one.classify(photos[1]), known.classify(photos[1]))
    assert sum(solved) == 1


def test_an_enrollment_is_reported_as_in_a_small_gallery(opened, plain, large, monkeypatch):
    known, photos = plain
    one, other = Recognizer(*opened), Recognizer(*opened)
    for r in (one, other):
        r.gallery.merge(known.gallery)
    report = one.enroll("newcomer", photos[:2])
    monkeypatch.setattr("hmdrn_runtime.matching.ridge.MIN_INDEXED", 10**6)
    expected = other.enroll("newcomer", photos[:2])
    assert report.nearest is not None
    assert report.nearest.label == expected.nearest.label
    assert np.allclose([p.fit for p in report.photos], [p.fit for p in expected.photos], atol=1e-3)


def test_a_comparison_is_consistent_while_another_thread_moves_the_index(opened, plain, monkeypatch):
    known, photos = plain
    monkeypatch.setattr("hmdrn_runtime.matching.ridge.MIN_INDEXED", 5)
    monkeypatch.setattr(species_index, "MAX_REMOVED", 10)
    ask = species_index.SpeciesIndex.find
    one = Recognizer(*opened)
    one.gallery.merge(known.gallery)
    one.classify(photos[0])
    species = list(one.gallery.species.values())
    queries = one.matcher.compute_statistics(np.stack(photos[:3]))
    expected = one.matcher.compare(queries, {}, species)
    indices = []

    def forget_most():
        for s in species[:18]:
            one.gallery.forget(s.label)
        one.refresh()

    def interrupted(self, of):
        found = ask(self, of)
        indices.append(self.index)
        other = threading.Thread(target=forget_most)
        other.start()
        other.join()
        indices.append(self.index)
        return found

    monkeypatch.setattr(species_index.SpeciesIndex, "find", interrupted)
    assert np.allclose(one.matcher.compare(queries, {}, species), expected, rtol=1e-5)
    assert indices[0] is not indices[1]
