"""Labels that do not flicker, compared with averages computed from all predictions."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from fake_classifier import make_prediction
from hypothesis import given
from hypothesis import strategies as st

from hmdrn.watching.events import build_result_events
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.smoothing import SmoothedLabel, Smoother, Smoothing
from hmdrn_runtime.errors import HmdrnError

LABELS = "abc"
answers = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.floats(0.05, 0.95),
        st.sampled_from([True, False, None]),
        st.floats(0.001, 2.0),
    ),
    min_size=1,
    max_size=30,
)


def shown(smoothing: Smoothing, steps):
    """The text after each of some answers: (label, probability, known, seconds since the one before)."""
    smoother, now, texts = Smoother(smoothing), 0.0, []
    for label, probability, known, wait in steps:
        now += wait
        texts.append(smoother.update(make_prediction(label, probability, known), now).text)
    return texts


@given(answers)
def test_an_average_weighs_each_prediction_by_its_age_alone(steps):
    smoothing = Smoothing(0.5, 0.0, 1)
    smoother, now, history = Smoother(smoothing), 0.0, []
    for label, probability, known, wait in steps:
        now += wait
        history.append((now, make_prediction(label, probability, known)))
        value = smoother.update(history[-1][1], now)
    weights = [math.exp(-(now - time) / 0.5) for time, _ in history]
    knowns = [w for w, (_, p) in zip(weights, history, strict=True) if p.known is not False]
    if value.state == "unknown":
        assert value.score == pytest.approx(1 - sum(knowns) / sum(weights), abs=1e-4)
        assert value.probability is None
        return
    assert value.score is None
    sums = dict.fromkeys([*LABELS, "other"], 0.0)
    for weight, (_, prediction) in zip(weights, history, strict=True):
        for match in prediction.ranking if prediction.known is not False else ():
            sums[match.label] += weight * match.probability
    assert value.label is not None
    assert sums[value.label] == pytest.approx(max(sums.values()), rel=1e-3)
    assert value.probability == pytest.approx(sums[value.label] / sum(knowns), rel=1e-3)


@given(answers)
def test_without_smoothing_every_prediction_counts_by_itself(steps):
    smoother, now = Smoother(Smoothing(0.0, 0.0, 1)), 0.0
    for label, probability, known, wait in steps:
        now += wait
        prediction = make_prediction(label, probability, known)
        value = smoother.update(prediction, now)
        assert value.state == ("unknown" if known is False else "species")
        if known is not False:
            assert value.probability == pytest.approx(max(m.probability for m in prediction.ranking))


@given(answers, st.floats(0.0, 0.6), st.integers(1, 5))
def test_a_label_takes_over_only_after_it_has_led_long_enough(steps, hysteresis, hold):
    texts = ["undecided", *shown(Smoothing(0.5, hysteresis, hold), steps)]
    changes = [i for i in range(1, len(texts)) if texts[i] != texts[i - 1]]
    assert all(b - a >= hold for a, b in zip([0, *changes], changes, strict=False))


def test_a_single_wrong_prediction_changes_nothing_lasting_ones_do():
    frame = 1 / 30
    steps = [("a", 0.9, True, frame)] * 30 + [("b", 0.9, True, frame)] * 2 + [("a", 0.9, True, frame)] * 10
    assert set(shown(Smoothing(), steps)[5:]) == {"a"}
    steps = [("a", 0.9, True, frame)] * 30 + [("b", 0.9, True, frame)] * 30
    assert shown(Smoothing(), steps)[-1] == "b"


def test_two_labels_that_are_as_likely_do_not_take_turns():
    smoother = Smoother(Smoothing())
    turns = [
        *[make_prediction("a", 0.6, other="b")] * 5,
        *[make_prediction("b", 0.52, other="a"), make_prediction("a", 0.52, other="b")] * 50,
    ]
    values = [smoother.update(turn, 0.1 * number).text for number, turn in enumerate(turns)]
    assert set(values[5:]) == {"a"}


def test_unknown_is_a_state_of_its_own_that_comes_and_goes_with_hysteresis():
    def texts(*groups):
        return shown(Smoothing(), [("a", 0.9, known, 0.03) for known, n in groups for _ in range(n)])

    assert texts((True, 30), (False, 40))[-1] == "unknown"
    assert texts((False, 30), (True, 40))[-1] == "a"
    assert set(texts((True, 30), (False, 3), (True, 30))[5:]) == {"a"}


def test_frames_that_were_dropped_do_not_make_the_average_slower():
    fast = shown(Smoothing(0.5, 0.1, 1), [("a", 0.9, True, 0.02)] * 50 + [("b", 0.9, True, 0.02)] * 100)
    slow = shown(Smoothing(0.5, 0.1, 1), [("a", 0.9, True, 0.2)] * 5 + [("b", 0.9, True, 0.2)] * 10)
    assert fast.count("b") * 0.02 == pytest.approx(slow.count("b") * 0.2, abs=0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-1.0,), "seconds of smoothing is -1.0"),
        ((float("nan"),), "seconds of smoothing is nan"),
        ((0.5, 1.5), "hysteresis is 1.5"),
        ((0.5, 0.1, 0), "hold is 0"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(HmdrnError, match=message):
        Smoothing(*values)


def test_after_a_long_gap_the_past_is_forgotten():
    steps = [("a", 0.9, True, 0.03)] * 100 + [("b", 0.9, True, 60.0)] + [("b", 0.9, True, 0.03)] * 2
    assert shown(Smoothing(), steps)[-1] == "b"


def test_an_unknown_subject_has_a_null_probability_and_a_score():
    smoother, unknown = Smoother(Smoothing(0.0, 0.0, 1)), make_prediction("a", 0.9, False)
    sighting = Sighting(0, None, unknown, smoother.update(unknown, 0.0), SmoothedLabel("species", "a", 0.9))
    frame = SimpleNamespace(index=3, position=0.1, time=0.0, file=None)
    (event,) = build_result_events(WatchResult(frame, (sighting,), (), 0.01), every=False)
    values = [event[key] for key in ("state", "label", "probability", "score")]
    assert values == ["unknown", None, None, 1.0]
    assert event["before"] == {"state": "species", "label": "a", "probability": 0.9, "score": None}
