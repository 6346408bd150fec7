"""Multiply-adds and bytes, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.work import NodeWork, Peak, Stage, combine_nodes, count_node_work, profile_graph
from hmdrn_runtime.bundle.bundle import open_bundle


def make_record(operator: str, inputs: list[list[int]], output: list[int]) -> dict:
    """Return the profiler's record of an operator, with fixed sizes in bytes."""
    return {
        "op_name": operator,
        "input_type_shape": [{"float": shape} for shape in inputs],
        "output_type_shape": [{"float": output}],
        "parameter_size": "0",
        "activation_size": "100",
        "output_size": "20",
    }


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "macs", "moved"),
    [
        ("Conv", [[1, 64, 42, 42], [64, 64, 3, 3], [64]], [1, 64, 42, 42], 64 * 42 * 42 * 64 * 9, 120),
        ("MatMul", [[2, 10, 7], [2, 7, 5]], [2, 10, 5], 2 * 10 * 7 * 5, 120),
        # Its left side transposed.
        ("FusedMatMul", [[1, 100, 64], [1, 100, 64]], [1, 64, 64], 64 * 64 * 100, 120),
        # Its weights packed beforehand.
        ("MatMul", [[1, 100, 64]], [1, 100, 192], 100 * 64 * 192, 120 + 4 * 64 * 192),
        ("Softmax", [[2, 10, 10]], [2, 10, 10], 0, 120),
    ],
)
def test_work_of_an_operator(operator, inputs, output, macs, moved):
    assert count_node_work(make_record(operator, inputs, output)) == (macs, moved)


def test_the_backbone_has_the_multiply_adds_of_its_layers(exported):
    bundle = open_bundle(exported("conv4", "ridge"))
    nodes = profile_graph(bundle.graph_path("encode"), {"images": np.zeros((2, 84, 84, 3), np.uint8)}, 1)
    sides = (84, 42, 21, 10)
    expected = 2 * sum(64 * side**2 * 9 * (3 if side == 84 else 64) for side in sides)
    assert sum(n.macs for n in nodes if n.name.startswith("backbone")) == expected
    assert all(n.bytes > 0 for n in nodes)


def test_the_roof_is_the_longer_of_computing_and_copying():
    peak = Peak(macs=100.0, bytes=10.0)
    computing, copying = Stage("c", 4.0, macs=200.0, bytes=5.0), Stage("m", 4.0, macs=10.0, bytes=30.0)
    assert (computing.roof(peak), computing.share(peak), computing.bound(peak)) == (2.0, 0.5, "multiply-adds")
    assert (copying.roof(peak), copying.share(peak), copying.bound(peak)) == (3.0, 0.75, "bytes")


def test_a_stage_is_the_sum_of_its_operators():
    nodes = [NodeWork("a", 1.0, 3, 5), NodeWork("b", 2.0, 4, 6)]
    assert combine_nodes("both", 7.0, nodes) == Stage("both", 7.0, 7, 11)
