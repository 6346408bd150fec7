"""Text of the check that engines passed."""

from __future__ import annotations

from hmdrn.cli.engine_check import describe_engine_check

CHECK = {"distance_error": 0.1, "mask_bits_differing": 0.02, "top1_agreement": 100.0, "rejected": {}}


def test_int8_engines_are_described_against_their_own_graphs():
    quantized = {"reference": "int8-trt", "output_norm_error": 0.034, "output_factor": 0.9994}
    quantized |= {"output_contrast": 0.98, "distance_norm_error": 0.014, "distance_factor": 1.0041}
    lines = describe_engine_check({**CHECK, "quantized": quantized}).splitlines()
    assert lines[1] == (
        "against the int8-trt graphs: outputs are 0.999 times theirs and differ by 3.4e-02 of their norm, "
        "distances are 1.004 times theirs and differ by 1.4e-02"
    )
    first, *rest = lines
    assert describe_engine_check(CHECK) == describe_engine_check({**CHECK, "quantized": None}) == first
    assert len(rest) == 1
