"""Check of new engines on the device that built them: they must answer as ONNX Runtime on the CPU.

Compilers have produced engines that are wrong without a message: float32 attention on TensorRT 10.4, half
convolutions with a residual sum on 11.2, layers whose requested precision was ignored on 10.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_export.verification.report import TOLERANCES, Tolerances
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.matching.factory import open_matcher
from hmdrn_runtime.specimens.drawing import draw_specimens

SPECIES, SHOTS, QUERIES = 6, 2, 3

# Rounding in another order may flip a mask bit near its threshold, which the verification sets aside.
_FLOAT32 = Tolerances(distance=1e-3, mask_bits=1e-3, top1=97.0)


@dataclass(frozen=True)
class EngineCheck:
    """Comparison of engines with the bundle's float32 graphs in ONNX Runtime on the CPU, on drawn specimens.

    Attributes:
        output_error: Largest error of an output of the graphs that take photos alone, relative to the largest
            value of that output.
        distance_error: Largest error of a distance, relative to the photo's mean distance.
        mask_bits_differing: Share of the mask bits that differ, 0-1.
        top1_agreement: Queries with the same answer, in percent.
        problems: Tolerances exceeded, in words; empty if the engines are right.
    """

    output_error: float
    distance_error: float
    mask_bits_differing: float
    top1_agreement: float
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary without the problems."""
        values = asdict(self)
        del values["problems"]
        return values


@dataclass(frozen=True)
class _Answers:
    """Outputs of graphs by (graph, output), distances (queries, species) by level, and logits."""

    outputs: dict[tuple[str, str], npt.NDArray[Any]]
    distances: dict[str, npt.NDArray[Any]]
    logits: npt.NDArray[Any]


def check_engines(bundle: Bundle, backend: Backend, precision: str) -> EngineCheck:
    """Compare a backend with ONNX Runtime on the CPU.

    Args:
        bundle: The bundle, at the variant that the backend runs.
        backend: Its engines.
        precision: Their precision, "fp32", "fp16" or "int8", which sets the tolerances.

    Raises:
        BackendError: A graph does not run.
    """
    exact = open_bundle(bundle.path, "fp32")
    expected = _answer(exact, OnnxRuntimeBackend(exact))
    answers = _answer(bundle, backend)
    masks = {key for key, array in expected.outputs.items() if array.dtype == bool}
    values = expected.outputs.keys() - masks
    figures = EngineCheck(
        output_error=_max(_relative_error(answers.outputs[key], expected.outputs[key]) for key in values),
        distance_error=_max(
            np.abs(answers.distances[level] - array) / array.mean(axis=1, keepdims=True)
            for level, array in expected.distances.items()
        ),
        mask_bits_differing=float(
            np.mean(np.concatenate([(answers.outputs[k] != expected.outputs[k]).ravel() for k in masks]))
        ),
        top1_agreement=100.0 * float(np.mean(answers.logits.argmax(axis=1) == expected.logits.argmax(axis=1))),
    )
    allowed = _FLOAT32 if precision == "fp32" else TOLERANCES[precision]
    return EngineCheck(**figures.to_dict(), problems=tuple(_find_problems(figures, allowed)))


def _answer(bundle: Bundle, backend: Backend) -> _Answers:
    network = bundle.manifest.network
    pool = draw_specimens(range(SPECIES), SHOTS + QUERIES, size=bundle.manifest.preprocessing.side)
    support = pool[:, :SHOTS].reshape(-1, *pool.shape[2:])
    queries = pool[:, SHOTS:].reshape(-1, *pool.shape[2:])
    outputs = {
        (graph, name): array
        for graph, description in bundle.manifest.variants[bundle.variant].items()
        if [tensor.name for tensor in description.inputs] == ["images"]
        for name, array in backend.run(graph, {"images": queries}).items()
    }
    matcher = open_matcher(network, backend, bundle.variant)
    photos = matcher.compute_statistics(support)
    species = [
        extend_species(None, f"species {c}", photos[c * SHOTS : (c + 1) * SHOTS]) for c in range(SPECIES)
    ]
    scores = matcher.classify(queries, matcher.place(matcher.class_operands(species)))
    return _Answers(outputs, dict(scores.distances), scores.logits)


def _find_problems(check: EngineCheck, allowed: Tolerances) -> Iterator[str]:
    """Describe what is exceeded; the comparisons fail for NaN."""
    if not check.output_error <= allowed.distance:
        yield f"outputs differ by {check.output_error:.2g} (at most {allowed.distance:.2g})"
    if not check.distance_error <= allowed.distance:
        yield f"distances differ by {check.distance_error:.2g} (at most {allowed.distance:.2g})"
    if not check.mask_bits_differing <= allowed.mask_bits:
        yield f"{check.mask_bits_differing:.2%} of the mask bits differ (at most {allowed.mask_bits:.2%})"
    if not check.top1_agreement >= allowed.top1:
        yield f"{check.top1_agreement:.1f} % of the answers agree (at least {allowed.top1:.1f} %)"


def _relative_error(array: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[Any]:
    difference = np.abs(array.astype(np.float64) - expected)
    result: npt.NDArray[Any] = difference / max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    return result


def _max(errors: Iterator[npt.NDArray[Any]]) -> float:
    """Return the largest error; NaN if any is."""
    return float(np.max([array.max() for array in errors]))
