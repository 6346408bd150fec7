from __future__ import annotations

import numpy as np
import pytest

from hmdrn_calibration.open_set.metrics import auroc, calibration_error, false_accepts, softmax
from hmdrn_calibration.open_set.threshold_fit import fit_temperature


def test_auroc_is_the_share_of_pairs_in_the_right_order_and_a_tie_counts_half():
    known, unknown = np.array([3.0, 1.0, 2.0]), np.array([0.0, 2.0])
    pairs = [float(k > u) + 0.5 * float(k == u) for k in known for u in unknown]
    assert auroc(known, unknown) == pytest.approx(np.mean(pairs))


def test_false_accepts_are_those_above_what_95_percent_of_the_known_reach():
    known = np.arange(100.0)
    assert false_accepts(known, np.array([-1.0, 3.0, 50.0, 99.0])) == pytest.approx(0.5)


def test_honest_probabilities_have_no_calibration_error_and_boasts_have_their_excess():
    right = np.array([True] * 8 + [False] * 2)
    assert calibration_error(np.full(10, 0.8), right) == pytest.approx(0)
    assert calibration_error(np.full(10, 1.0), right) == pytest.approx(0.2)


def test_the_temperature_that_logits_were_multiplied_by_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 5))
    truth = np.array([rng.choice(5, p=p) for p in softmax(logits)])
    for factor in (0.4, 3.0):
        constant, slope = fit_temperature([factor * logits], [truth])
        assert (np.exp(constant), slope) == pytest.approx((factor, 0), rel=0.06)
