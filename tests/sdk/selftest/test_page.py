"""The page of a self-test."""

from __future__ import annotations

from hmdrn.selftest.page import format_page

CHECK = {
    "distance_error": 0.1,
    "top1_agreement": 100.0,
    "accuracy": 80.0,
    "reference_accuracy": 80.0,
    "queries": 20,
}
WRONG = {"reference": "int8-ort", "output_norm_error": 0.5, "output_factor": 1.5, "output_contrast": 1.0}
RIGHT = {**WRONG, "output_factor": 1.001, "distance_norm_error": 0.014, "distance_factor": 1.0041}


def make_values(quantized):
    """A self-test of one run."""
    quantized = {"distance_norm_error": None, "distance_factor": None, **quantized} if quantized else None
    answer = {
        "checks": {"drawn specimens": {**CHECK, "quantized": quantized}},
        "latency": {"stages": {}, "total": {"p50": 1.0, "p90": 1.0, "runs": 1}},
    }
    part = {"name": "int8-ort", "status": "passed", "seconds": 1.0, "reason": "", "answer": answer}
    head = {"quick": True, "works": True, "bundle": "default", "seconds": 1.0, "device": None}
    return {**head, "parts": [part]}


def test_int8_runs_are_compared_with_their_own_graphs():
    page = format_page(make_values(RIGHT))
    assert "| int8-ort | drawn specimens | 1.001 times | 5.0e-01 | 1.004 times | 1.4e-02 |" in page
    assert "| int8-ort | drawn specimens | 1.500 times | 5.0e-01 |  |  |" in format_page(make_values(WRONG))
    assert "INT8 against" not in format_page(make_values(None))
