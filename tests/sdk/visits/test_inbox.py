"""Strangers in groups: the clustering against SciPy's, and drawn species that come several times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from visit_examples import make_visit, show_specimens

import hmdrn
from hmdrn.visits.corrections import correct_visits
from hmdrn.visits.inbox import group_unknown_visits, join_alike
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_average_linkage(seed):
    values = np.random.default_rng(seed).normal(size=(30, 30))
    scores = (values + values.T) / 2
    distances = 5.0 - scores
    np.fill_diagonal(distances, 0)
    expected = fcluster(linkage(squareform(distances), "average"), 5.0 - 0.3, "distance")
    groups = join_alike(scores, 0.3)
    assert sorted(i for group in groups for i in group) == list(range(30))
    assert {frozenset(g) for g in groups} == {
        frozenset(np.flatnonzero(expected == number).tolist()) for number in set(expected)
    }


def test_one_stranger_is_one_question(store):
    birds = hmdrn.load("default", threads=1)
    drawn = draw_specimens((1, 22), 6, size=128)
    ids = [[store.save(show_specimens(own[n : n + 2])).id for n in (0, 2, 4)] for own in drawn]
    store.save(make_visit(label="Jay"))
    store.save(make_visit(label=None, pictures=0))
    groups = group_unknown_visits(store, birds, strictness=3.0)
    assert [sorted(visit.id for visit in group.visits) for group in groups] == ids
    assert all(group.likeness > 0 for group in groups)
    correct_visits(store, ids[0], None)
    assert [
        sorted(v.id for v in group.visits) for group in group_unknown_visits(store, birds, strictness=3.0)
    ] == ids[1:]


def test_an_empty_inbox_has_no_groups(store):
    assert group_unknown_visits(store, hmdrn.load("default", threads=1)) == []
