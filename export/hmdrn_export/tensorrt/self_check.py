"""Check of new engines on the device that built them: they must answer as ONNX Runtime on the CPU.

Compilers have produced engines that are wrong without a message: float32 attention on TensorRT 10.4, half
convolutions with a residual sum on 11.2, layers whose requested precision was ignored on 10.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_export.tensorrt.samples import Samples, draw_samples
from hmdrn_export.verification.report import TOLERANCES, Tolerances
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.errors import EnrollmentError, WrongEnginesError
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.matching.base import Scores
from hmdrn_runtime.matching.factory import open_matcher

SPECIES, SHOTS, QUERIES = 6, 2, 3

# As a camera runs: one photo again and again, the last time as a captured graph where there is one.
_FRAMES = 3

_Outputs: TypeAlias = dict[tuple[str, str], npt.NDArray[Any]]

# Rounding in another order may flip a mask bit near its threshold, which the verification sets aside.
_FLOAT32 = Tolerances(distance=1e-3, mask_bits=1e-3, top1=97.0)


@dataclass(frozen=True)
class EngineCheck:
    """Comparison of engines with the bundle's float32 graphs in ONNX Runtime on the CPU.

    Attributes:
        output_error: Largest error of an output of the graphs that take photos alone, relative to the largest
            value of that output, over the photos whose mask bits are all the same; None if there are none (as
            often with INT8), and NaN if any output of any photo is not finite.
        distance_error: Largest error of a distance, relative to the photo's mean distance; NaN if the outputs
            are wrong already.
        mask_bits_differing: Share of the mask bits that differ, 0-1.
        top1_agreement: Queries with the same answer, in percent; NaN like the distances.
        accuracy: Queries with the right answer, in percent; NaN like the distances.
        reference_accuracy: The same of the float32 graphs on the CPU.
        queries: Number of queries.
        photographs: The comparison on photographs; the figures above are of drawn specimens. None without
            photographs.
    """

    output_error: float | None
    distance_error: float
    mask_bits_differing: float
    top1_agreement: float
    accuracy: float = math.nan
    reference_accuracy: float = math.nan
    queries: int = 0
    photographs: EngineCheck | None = None


def check_engines(
    bundle: Bundle, backend: Backend, precision: str, photographs: Samples | None = None
) -> EngineCheck:
    """Compare a backend with ONNX Runtime on the CPU, on drawn specimens and on photographs.

    Args:
        bundle: The bundle, at the variant that the backend runs.
        backend: Its engines.
        precision: Their precision, "fp32", "fp16" or "int8", which sets the tolerances.
        photographs: Photographs to compare on as well.

    Raises:
        WrongEnginesError: The engines are wrong; the message names what is exceeded.
        BackendError: A graph does not run.
    """
    allowed = _get_tolerances(precision)
    drawn = draw_samples(bundle.manifest.input.size, SPECIES, SHOTS, QUERIES)
    check = compare_with_float32(bundle, backend, drawn, allowed.distance)
    if problems := find_excess(check, precision):
        raise WrongEnginesError(problems)
    if photographs is None:
        return check
    other = compare_with_float32(bundle, backend, photographs, allowed.distance)
    if problems := find_excess(other, precision):
        raise WrongEnginesError(f"on photographs {problems}")
    return replace(check, photographs=other)


def compare_with_float32(
    bundle: Bundle, backend: Backend, samples: Samples, max_output_error: float
) -> EngineCheck:
    """Compare a backend with the bundle's float32 graphs in ONNX Runtime on the CPU.

    Nothing is classified if an output's error exceeds `max_output_error`: an enrollment might not even end.

    Raises:
        WrongEnginesError: Its solves do not converge.
        BackendError: A graph does not run.
    """
    exact = open_bundle(bundle.path, "fp32")
    reference = OnnxRuntimeBackend(exact)
    expected = _run_graphs(exact, reference, samples.queries)
    outputs = _run_graphs(bundle, backend, samples.queries)
    for _ in range(_FRAMES):
        frame = _run_graphs(bundle, backend, samples.queries[:1])
    outputs = {key: np.concatenate([array, frame[key]]) for key, array in outputs.items()}
    expected = {key: np.concatenate([array, array[:1]]) for key, array in expected.items()}
    photos = len(samples.queries) + 1
    masks = {key for key, array in expected.items() if array.dtype == bool}
    flipped = [(outputs[key] != expected[key]).reshape(photos, -1) for key in masks]
    # A bit beside its threshold changes all tokens of its photo, in right engines too: such photos count by
    # their bits, and are judged by their distances.
    same = np.ones(photos, dtype=np.bool_)
    if flipped:
        same &= ~np.concatenate(flipped, axis=1).any(axis=1)
    check = EngineCheck(
        output_error=_find_output_error(outputs, expected, same),
        distance_error=math.nan,
        mask_bits_differing=float(np.mean(np.concatenate(flipped, axis=1))) if flipped else 0.0,
        top1_agreement=math.nan,
        queries=len(samples.queries),
    )
    if check.output_error is not None and not check.output_error <= max_output_error:
        return check
    right = _classify(exact, reference, samples)
    try:
        scores = _classify(bundle, backend, samples)
    except EnrollmentError as error:
        reason, _, _ = str(error).partition(";")  # what to do is advice on the photos
        raise WrongEnginesError(f"what ONNX Runtime enrolls they do not: {reason}") from error
    given, wanted = scores.logits.argmax(axis=1), right.logits.argmax(axis=1)
    return replace(
        check,
        distance_error=_max(
            np.abs(scores.distances[level] - array) / array.mean(axis=1, keepdims=True)
            for level, array in right.distances.items()
        ),
        top1_agreement=_percent(given == wanted),
        accuracy=_percent(given == samples.answers),
        reference_accuracy=_percent(wanted == samples.answers),
    )


def find_excess(check: EngineCheck, precision: str) -> str:
    """Describe what exceeds the tolerances of "fp32", "fp16" or "int8"; empty if nothing does."""
    return ", ".join(_find_problems(check, _get_tolerances(precision)))


def _get_tolerances(precision: str) -> Tolerances:
    return _FLOAT32 if precision == "fp32" else TOLERANCES[precision]


def _find_output_error(outputs: _Outputs, expected: _Outputs, same: npt.NDArray[np.bool_]) -> float | None:
    values = [(outputs[key], array) for key, array in expected.items() if array.dtype != bool]
    if not all(np.isfinite(array).all() for array, _ in values):
        return math.nan
    if not same.any():
        return None
    return _max(_relative_errors(array[same], wanted[same]) for array, wanted in values)


def _run_graphs(bundle: Bundle, backend: Backend, photos: npt.NDArray[np.uint8]) -> _Outputs:
    """Return the outputs, by graph and name, of the graphs that take photos alone."""
    return {
        (graph, name): array
        for graph, description in bundle.manifest.variants[bundle.variant].items()
        if [tensor.name for tensor in description.inputs] == ["images"]
        for name, array in backend.run(graph, {"images": photos}).items()
    }


def _classify(bundle: Bundle, backend: Backend, samples: Samples) -> Scores:
    """Enroll the support photos and classify the queries."""
    matcher = open_matcher(bundle.manifest.network, backend, bundle.variant)
    photos, shots = matcher.compute_statistics(samples.support), samples.shots
    species = [
        extend_species(None, f"species {c}", photos[c * shots : (c + 1) * shots])
        for c in range(samples.classes)
    ]
    return matcher.classify(samples.queries, matcher.place(matcher.class_operands(species)))


def _percent(hits: npt.NDArray[np.bool_]) -> float:
    return 100.0 * float(np.mean(hits))


def _find_problems(check: EngineCheck, allowed: Tolerances) -> Iterator[str]:
    """Describe what is exceeded; the comparisons fail for NaN."""
    if not check.mask_bits_differing <= allowed.mask_bits:
        yield f"{check.mask_bits_differing:.2%} of the mask bits differ (at most {allowed.mask_bits:.2%})"
    if check.output_error is not None and not check.output_error <= allowed.distance:
        yield f"outputs differ by {check.output_error:.2g} (at most {allowed.distance:.2g})"
        return
    if not check.distance_error <= allowed.distance:
        yield f"distances differ by {check.distance_error:.2g} (at most {allowed.distance:.2g})"
    if not check.top1_agreement >= allowed.top1:
        yield f"{check.top1_agreement:.1f} % of the answers agree (at least {allowed.top1:.1f} %)"


def _relative_errors(array: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[Any]:
    difference = np.abs(array.astype(np.float64) - expected)
    result: npt.NDArray[Any] = difference / max(
        float(np.abs(expected).max()), float(np.finfo(np.float32).tiny)
    )
    return result


def _max(errors: Iterator[npt.NDArray[Any]]) -> float:
    """Return the largest error; NaN if any is."""
    return float(np.max([array.max() for array in errors]))
