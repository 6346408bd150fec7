from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hmdrn_runtime.classification.prediction import rank_species
from hmdrn_runtime.matching.base import Scores


def scores(logits: object, **distances: object) -> Scores:
    return Scores(
        {name: np.asarray(d, np.float32) for name, d in distances.items()}, np.asarray(logits, np.float32)
    )


def labels(count: int) -> tuple[str, ...]:
    return tuple(f"species {i:02}" for i in range(count))


LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-2000, 2000, width=32),
)


@settings(deadline=None)
@given(LOGITS)
def test_probabilities_are_the_softmax_of_the_logits(logits):
    names = labels(logits.shape[1])
    for row, prediction in zip(logits, rank_species(names, scores(logits), top=99), strict=True):
        # Written out with exact sums, and without the shift that the code under test makes.
        shares = [
            1 / math.fsum(math.exp(min(float(other) - float(one), 700)) for other in row) for one in row
        ]
        found = {m.label: m.probability for m in prediction.ranking}
        assert found == pytest.approx(dict(zip(names, shares, strict=True)), rel=1e-9, abs=1e-300)
        assert math.fsum(found.values()) == pytest.approx(1, rel=1e-12)


@settings(deadline=None)
@given(LOGITS)
def test_rankings_are_by_logit_and_then_in_the_order_of_the_labels(logits):
    names = labels(logits.shape[1])
    for row, prediction in zip(logits, rank_species(names, scores(logits), top=99), strict=True):
        assert [m.label for m in prediction.ranking] == [
            names[c] for c in sorted(range(len(row)), key=lambda c: (-row[c], c))
        ]
        assert prediction.label == prediction.ranking[0].label
        assert prediction.probability == prediction.ranking[0].probability
        assert [m.logit for m in prediction.ranking] == sorted(row.tolist(), reverse=True)


def test_every_photo_of_a_batch_is_answered_by_itself():
    batch = [[1.0, 3.0, 2.0], [5.0, 0.0, 0.0], [0.0, 0.0, 9.0]]
    together = rank_species(labels(3), scores(batch, high=batch), top=3)
    alone = [rank_species(labels(3), scores([row], high=[row]), top=3)[0] for row in batch]
    assert together == alone
    assert [p.label for p in together] == ["species 01", "species 00", "species 02"]


def test_the_margin_is_what_the_best_has_over_the_second():
    prediction = rank_species(labels(3), scores([[math.log(2), math.log(6), math.log(2)]]), top=5)[0]
    assert prediction.probability == pytest.approx(0.6)
    assert prediction.margin == pytest.approx(0.4)


def test_two_species_that_tie_have_no_margin_and_the_first_label_wins():
    prediction = rank_species(("ant", "bee", "cat"), scores([[0.5, 2.0, 2.0]]), top=5)[0]
    assert prediction.label == "bee"
    assert prediction.margin == 0.0
    assert [m.label for m in prediction.ranking] == ["bee", "cat", "ant"]


def test_the_only_species_is_certain_and_its_margin_is_its_probability():
    prediction = rank_species(("moth",), scores([[-1234.5]], high=[[7.0]], mid=[[2.0]]), top=5)[0]
    assert (prediction.label, prediction.probability, prediction.margin) == ("moth", 1.0, 1.0)
    assert len(prediction.ranking) == 1


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (1000, 4)])
def test_a_ranking_has_at_most_top_species_and_an_independent_margin(top, shown):
    logits = [[0.0, 1.0, 3.0, 2.0]]
    prediction = rank_species(labels(4), scores(logits), top=top)[0]
    assert [m.logit for m in prediction.ranking] == [3.0, 2.0, 1.0, 0.0][:shown]
    assert prediction.margin == rank_species(labels(4), scores(logits), top=4)[0].margin
    assert prediction.margin > 0.1


def test_every_match_has_the_distances_of_its_own_species_by_level():
    prediction = rank_species(
        ("a", "b", "c"), scores([[1.0, 3.0, 2.0]], high=[[10, 30, 20]], mid=[[0.1, 0.3, 0.2]]), top=3
    )[0]
    found = {m.label: dict(m.distances) for m in prediction.ranking}
    assert {name: d["high"] for name, d in found.items()} == {"a": 10, "b": 30, "c": 20}
    assert {name: d["mid"] for name, d in found.items()} == pytest.approx({"a": 0.1, "b": 0.3, "c": 0.2})


def test_logits_of_any_size_give_probabilities_that_are_numbers():
    huge = rank_species(labels(2), scores([[-3e38, 3e38]]), top=2)[0]
    assert [m.probability for m in huge.ranking] == [1.0, 0.0]
    near = rank_species(labels(2), scores([[-1e6, -1e6 + 1]]), top=2)[0]
    assert near.probability == pytest.approx(1 / (1 + math.exp(-1)))


def test_known_is_none_without_a_calibrated_threshold():
    assert rank_species(labels(2), scores([[0.0, 1.0]]), top=2)[0].known is None


def test_a_prediction_becomes_json_and_says_the_same():
    prediction = rank_species(
        ("Ödland", "b"), scores([[1.0, 0.0]], high=[[1.5, 2.5]], mid=[[0.5, 0.25]]), top=2
    )[0]
    first = prediction.ranking[0]
    assert json.loads(json.dumps(prediction.to_dict(), allow_nan=False)) == {
        "label": "Ödland",
        "known": None,
        "probability": first.probability,
        "margin": prediction.margin,
        "ranking": [
            {
                "label": "Ödland",
                "probability": first.probability,
                "logit": 1.0,
                "distances": {"high": 1.5, "mid": 0.5},
            },
            {
                "label": "b",
                "probability": prediction.ranking[1].probability,
                "logit": 0.0,
                "distances": {"high": 2.5, "mid": 0.25},
            },
        ],
    }


def test_no_photos_give_no_predictions():
    assert rank_species(labels(3), Scores({}, np.zeros((0, 3), np.float32)), top=5) == []
