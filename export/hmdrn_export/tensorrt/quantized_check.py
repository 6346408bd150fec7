"""Comparison of INT8 engines with their own graphs, by measures that a flipped mask bit does not break.

Nearly every photo has a mask bit that INT8 flips, which changes single values much. The norm of an output's
difference and its scale are over all values, and hardly change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.bundle.bundle import Bundle

MAX_FACTOR_ERROR = 0.03
"""Right INT8 graphs of an EfficientNet-Lite0 and a Conv-4 are within 0.004 of 1 against themselves rounded
otherwise, and within 0.018 against float32."""
MAX_NORM_ERROR = 0.15
"""Twice the largest of right INT8 graphs against themselves rounded otherwise (0.074, of single photos)."""
MAX_NORM_ERROR_TO_FLOAT32 = 0.3
"""The largest of right INT8 graphs against float32 is 0.217, of a single photo."""
MIN_CONTRAST = 0.5
"""Right INT8 graphs have 0.88 or more, swapped outputs about -1."""

Pair: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""An array of the engines, and the expected one of the same shape."""


@dataclass(frozen=True)
class QuantizedCheck:
    """Comparison of INT8 engines with their graphs in ONNX Runtime, over all photos.

    Attributes:
        reference: Variant of the graphs compared with; "fp32" where ONNX Runtime cannot run the INT8 graphs.
        output_norm_error: Largest norm of the difference of an output of the graphs that take photos alone,
            relative to the norm of that output.
        output_factor: Scale of such an output against the expected one, by least squares; the furthest from
            1.
        output_contrast: Such a scale of the difference between two outputs of one shape and graph, the least:
            INT8 changes the outputs of an enrollment as much as exchanging them does. 1 without such outputs.
        distance_norm_error: The same of the distances and logits; None if the outputs are wrong already.
        distance_factor: The same of the distances and logits; None if the outputs are wrong already.
    """

    reference: str
    output_norm_error: float
    output_factor: float
    output_contrast: float
    distance_norm_error: float | None = None
    distance_factor: float | None = None


class UnoptimizedBackend(OnnxRuntimeBackend):
    """ONNX Runtime on the CPU without optimization: it quantizes and dequantizes, and computes in float32.

    Its 8-bit kernels would be no reference: those of CPUs without VNNI cut products off.
    """

    def _make_options(self) -> ort.SessionOptions:
        options = super()._make_options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return options


def is_quantized(bundle: Bundle) -> bool:
    """Return whether any graph of the bundle's variant is INT8."""
    return any(graph.precision == "int8" for graph in bundle.manifest.variants[bundle.variant].values())


def measure(outputs: Iterable[Sequence[Pair]]) -> tuple[float, float]:
    """Return the largest relative norm of a difference, and the factor that is furthest from 1.

    The norm is that of each pair, the factor that of all pairs of an output. NaN if any value is not finite.
    """
    norms, factors = list[float](), list[float]()
    tiny = float(np.finfo(np.float32).tiny)
    for pairs in outputs:
        parts = [
            (given.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()) for given, wanted in pairs
        ]
        norms += [float(np.linalg.norm(g - w) / max(float(np.linalg.norm(w)), tiny)) for g, w in parts]
        square = sum(float(w @ w) for _, w in parts)
        factors.append(sum(float(g @ w) for g, w in parts) / square if square else 1.0)
    if not np.isfinite(norms).all():
        return float("nan"), float("nan")
    return max(norms), max(factors, key=lambda factor: abs(factor - 1))


def measure_contrast(outputs: Mapping[tuple[str, str], Sequence[Pair]]) -> float:
    """Return the least factor of the difference between two outputs, by graph and name, of one shape."""
    factors = [1.0]
    for ((graph, _), first), ((other, _), second) in combinations(outputs.items(), 2):
        if graph == other and first[0][1].shape == second[0][1].shape:
            for (given, wanted), (given_other, wanted_other) in zip(first, second, strict=True):
                factors.append(measure([[(given - given_other, wanted - wanted_other)]])[1])
    return float(np.min(factors))


def find_output_problems(check: QuantizedCheck) -> Iterator[str]:
    """Describe how the outputs exceed the limits."""
    yield from _find_problems("outputs", check.output_norm_error, check.output_factor, check)
    if not check.output_contrast >= MIN_CONTRAST:
        yield (
            f"differences between outputs are {check.output_contrast:.2g} times those of the "
            f"{check.reference} graphs (at least {MIN_CONTRAST:g})"
        )


def find_distance_problems(check: QuantizedCheck) -> Iterator[str]:
    """Describe how the distances exceed the limits; nothing if there are none."""
    if check.distance_norm_error is not None and check.distance_factor is not None:
        yield from _find_problems("distances", check.distance_norm_error, check.distance_factor, check)


def _find_problems(what: str, norm_error: float, factor: float, check: QuantizedCheck) -> Iterator[str]:
    """Describe what is exceeded; the comparisons fail for NaN."""
    most = MAX_NORM_ERROR_TO_FLOAT32 if check.reference == "fp32" else MAX_NORM_ERROR
    graphs = f"the {check.reference} graphs"
    if not abs(factor - 1) <= MAX_FACTOR_ERROR:
        yield f"{what} are {factor:.3g} times those of {graphs} (at most {MAX_FACTOR_ERROR:.0%} off)"
    if not norm_error <= most:
        yield f"{what} differ from those of {graphs} by {norm_error:.2g} of their norm (at most {most:.2g})"
