from __future__ import annotations

import json

import pytest

from hmdrn_network.training.base_trainer import Progress
from hmdrn_network.training.history import LOG_EVERY, History


def test_records_are_means_over_some_steps_and_the_last_may_be_shorter():
    history = History()
    steps = LOG_EVERY + 3
    for step in range(1, steps + 1):
        history.add(Progress("episodes", step, steps, float(step), step / 100, {"scale": step}))
    first, last = history.records
    assert first["step"] == LOG_EVERY
    assert first["loss"] == pytest.approx((1 + LOG_EVERY) / 2)
    assert last["step"] == steps
    assert last["loss"] == pytest.approx(LOG_EVERY + 2)
    assert last["accuracy"] == pytest.approx((LOG_EVERY + 2) / 100)
    assert last["scalars"] == {"scale": steps}


def test_a_history_written_and_read_between_two_records_continues_the_same():
    whole, parts = History(), History()
    for step in range(1, 2 * LOG_EVERY + 1):
        progress = Progress("classes", step, 1000, step**0.5, 0.5)
        whole.add(progress)
        parts.add(progress)
        if step % 7 == 0:
            parts = History.from_dict(json.loads(json.dumps(parts.to_dict())))
    assert parts.to_dict() == whole.to_dict()


def test_a_validation_is_best_if_its_mean_is_above_all_before():
    history = History()
    assert history.validations_since_best() == 0
    assert history.best_accuracies() == {}
    means = [(50, 70), (60, 70), (90, 40), (61, 71), (10, 10), (66, 66)]
    best = [history.add_validation(i, {"a": a, "b": b}) for i, (a, b) in enumerate(means)]
    assert best == [True, True, False, True, False, False]
    assert history.validations_since_best() == 2
    assert history.best_accuracies() == {"val a": 61, "val b": 71}


def test_a_lead_over_the_start_that_may_be_chance_is_not_best():
    history = History()
    assert history.best_step is None
    history.add_validation(0, {"a": 60})
    assert not history.add_validation(5, {"a": 61}, beats_start=False)
    assert history.add_validation(10, {"a": 60.5})
    assert history.best_step == 10
    assert history.validations_since_best() == 0
