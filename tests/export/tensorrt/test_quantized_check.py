"""INT8 engines are compared with their own graphs, and wrong ones are refused with their figure."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from fake_tensorrt import WRONGNESS

from hmdrn.loading import resolve_bundle
from hmdrn_export.tensorrt import self_check
from hmdrn_export.tensorrt.quantized_check import (
    QuantizedCheck,
    UnoptimizedBackend,
    find_distance_problems,
    find_output_problems,
    measure,
    measure_contrast,
)
from hmdrn_export.tensorrt.self_check import check_engines
from hmdrn_runtime.backends.base import Backend, ResidentArray
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BackendError

SCALED, NAN = r"^outputs are 1\.05 times those of the int8-ort graphs", "^outputs differ by nan "
DISTANCES = r"^distances are 1\.0[45]\d? times those of the int8-ort graphs"
CASES = [
    ("enroll", "scaled", SCALED),
    ("enroll", "nan", NAN),
    ("enroll", "swapped", r"^differences between outputs are -\d\S* times those of the int8-ort graphs"),
    ("encode", "scaled", SCALED),
    ("encode", "nan", NAN),
    ("explain", "scaled", SCALED),
    ("explain", "nan", NAN),
    ("classify", "scaled", DISTANCES),
    ("classify", "nan", "^distances are nan times "),
    ("classify", "swapped", r"^distances are \d"),
    ("solve", "scaled", DISTANCES),
    ("solve", "nan", "cannot be enrolled"),
]


class Engines(Backend):
    """A backend whose runs are remembered, of which one graph may be wrong."""

    name = "onnxruntime"

    def __init__(self, backend, graph="", wrong="", fails=False):
        self.backend, self.graph, self.wrong, self.fails = backend, graph, wrong, fails
        self.runs = {}

    def place(self, array):
        return self.backend.place(array)

    def run(self, graph, inputs):
        if self.fails:
            raise BackendError("ONNX Runtime could not load the graph")
        arrays = [v.handle[1] if isinstance(v, ResidentArray) else v for v in inputs.values()]
        key = (graph, *(hashlib.sha256(array.tobytes()).digest() for array in arrays))
        if key not in self.runs:
            self.runs[key] = self.backend.run(graph, inputs)
        outputs = self.runs[key]
        if graph != self.graph:
            return outputs
        return dict(zip(outputs, WRONGNESS[self.wrong](list(outputs.values())), strict=True))


@pytest.fixture(scope="module")
def backends():
    """The package's model: its INT8 graphs with integer kernels, without optimization, and in float32."""
    path = resolve_bundle("default")
    int8, exact = open_bundle(path, "int8-ort"), open_bundle(path)
    kernels, plain = OnnxRuntimeBackend(int8, threads=1), UnoptimizedBackend(int8, threads=1)
    return int8, *map(Engines, (kernels, plain, OnnxRuntimeBackend(exact, threads=1)))


@pytest.fixture
def check(backends, monkeypatch):
    """Check INT8 engines, of which one may be wrong: check(graph, wrong)."""
    int8, kernels, plain, exact = backends
    for name, count in (("SPECIES", 3), ("SHOTS", 1), ("QUERIES", 1)):
        monkeypatch.setattr(self_check, name, count)
    monkeypatch.setattr(self_check, "OnnxRuntimeBackend", lambda bundle: exact)
    monkeypatch.setattr(self_check, "UnoptimizedBackend", lambda bundle: plain)

    def run(graph="", wrong="", engines=kernels):
        monkeypatch.setattr(engines, "graph", graph)
        monkeypatch.setattr(engines, "wrong", wrong)
        return check_engines(int8, engines, "int8")

    return run


QUICK = {("enroll", "swapped"), ("encode", "scaled"), ("classify", "scaled"), ("classify", "nan")}


@pytest.mark.parametrize(
    ("graph", "wrong", "figure"),
    [pytest.param(*case, marks=() if case[:2] in QUICK else pytest.mark.slow) for case in CASES],
)
def test_one_wrong_int8_engine_is_refused_with_its_figure(check, graph, wrong, figure):
    with pytest.raises(BackendError, match=figure):
        check(graph, wrong)


def test_right_int8_engines_that_round_otherwise_pass_with_their_figures(check, backends):
    quantized = check().quantized
    assert quantized.reference == "int8-ort"
    assert 0.001 < quantized.output_norm_error < 0.075
    assert 0 < abs(quantized.output_factor - 1) < 0.01
    assert 0.95 < quantized.output_contrast < 1
    assert 0 < quantized.distance_norm_error < 0.075
    assert 0 < abs(quantized.distance_factor - 1) < 0.015
    assert {graph for graph, _, _ in CASES} == set(backends[0].manifest.variants["int8-ort"])


def test_int8_graphs_that_onnx_runtime_cannot_run_are_compared_with_float32(check, backends, monkeypatch):
    monkeypatch.setattr(backends[2], "fails", True)
    assert check().quantized.reference == "fp32"
    with pytest.raises(BackendError, match=r"^outputs are 1\.04 times those of the fp32 graphs"):
        check("encode", "scaled")


def test_the_norm_is_of_each_part_and_the_factor_of_all():
    wanted = np.array([3.0, 4.0])
    assert measure([[(wanted, wanted), (2 * wanted, wanted)]]) == (1.0, 1.5)
    assert measure([[(wanted, wanted)], [(0.5 * wanted, wanted)]]) == (0.5, 0.5)
    assert measure([[(np.zeros(2), np.zeros(2))]]) == (0.0, 1.0)
    norm_error, factor = measure([[(wanted, wanted)], [(np.array([3.0, np.inf]), wanted)]])
    assert math.isnan(norm_error)
    assert math.isnan(factor)


def test_the_contrast_is_of_outputs_of_one_shape_and_graph_in_each_part():
    first, second, third = np.array([3.0, 4.0]), np.array([3.0, 5.0]), np.ones(3)
    right = {("a", "x"): [(first, first)] * 2, ("a", "y"): [(second, second)] * 2}
    right |= {("a", "z"): [(third, third)] * 2, ("b", "x"): [(second, first)] * 2}
    assert measure_contrast(right) == 1.0
    swapped = {("a", "x"): [(second, first)], ("a", "y"): [(first, second)]}
    assert measure_contrast(swapped) == -1.0
    assert measure_contrast({key: right[key][:1] + swapped[key] for key in swapped}) == -1.0


def test_each_figure_beyond_its_limit_is_named():
    check = QuantizedCheck("int8-trt", 0.2, 1.0, -1.0, 0.01, 0.9)
    assert list(find_output_problems(check)) == [
        "outputs differ from those of the int8-trt graphs by 0.2 of their norm (at most 0.15)",
        "differences between outputs are -1 times those of the int8-trt graphs (at least 0.5)",
    ]
    assert list(find_distance_problems(check)) == [
        "distances are 0.9 times those of the int8-trt graphs (at most 3% off)"
    ]
    assert list(find_output_problems(QuantizedCheck("fp32", 0.2, 1.0, 1.0))) == []
    assert list(find_distance_problems(QuantizedCheck("fp32", 0.2, 1.0, 1.0))) == []
