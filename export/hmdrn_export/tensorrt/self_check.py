"""Check of new engines on the device that built them: they must answer as ONNX Runtime on the CPU.

Compilers have produced engines that are wrong without a message: float32 attention on TensorRT 10.4, half
convolutions with a residual sum on 11.2, layers whose requested precision was ignored on 10.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_export.tensorrt import quantized_check
from hmdrn_export.tensorrt.graph_runs import (
    FRAMES,
    Outputs,
    classify,
    classify_in_all_ways,
    pair_scores,
    run_graphs,
)
from hmdrn_export.tensorrt.quantized_check import QuantizedCheck, UnoptimizedBackend
from hmdrn_export.tensorrt.samples import Samples, draw_samples
from hmdrn_export.verification.report import TOLERANCES, Tolerances
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.errors import BackendError, EnrollmentError, WrongEnginesError
from hmdrn_runtime.matching.base import Scores

SPECIES, SHOTS, QUERIES = 6, 2, 3

# Rounding in another order may flip a mask bit near its threshold, which the verification sets aside.
_FLOAT32 = Tolerances(distance=1e-3, mask_bits=1e-3, top1=97.0)


@dataclass(frozen=True)
class EngineCheck:
    """Comparison of engines with the bundle's float32 graphs in ONNX Runtime on the CPU.

    Attributes:
        output_error: Largest error of an output of the graphs that take photos alone, relative to the largest
            value of that output, over the photos whose mask bits are all the same; None if there are none (as
            often with INT8), and NaN if any output of any photo is not finite.
        distance_error: Largest error of a distance or logit, relative to the photo's mean one; NaN if the
            outputs are wrong already. Of all queries at once, of one alone as a camera names it, and of all
            among more classes.
        mask_bits_differing: Share of the mask bits that differ, 0-1.
        top1_agreement: Queries with the same answer, in percent; NaN like the distances.
        accuracy: Queries with the right answer, in percent; NaN like the distances.
        reference_accuracy: The same of the float32 graphs on the CPU.
        queries: Number of queries.
        quantized: INT8 engines compared with their own graphs; None for the others.
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
    quantized: QuantizedCheck | None = None
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

    INT8 is compared with its own graphs there as well. Nothing is classified if an output's error exceeds
    `max_output_error`: an enrollment might not even end.

    Raises:
        WrongEnginesError: Its solves do not converge.
        BackendError: A graph does not run.
    """
    exact = open_bundle(bundle.path, "fp32")
    reference = OnnxRuntimeBackend(exact)
    expected = run_graphs(exact, reference, samples.queries)
    outputs = run_graphs(bundle, backend, samples.queries)
    for _ in range(FRAMES):
        frame = run_graphs(bundle, backend, samples.queries[:1])
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
    own, quantized = None, None
    if quantized_check.is_quantized(bundle):
        own = _run_quantized(bundle, samples, exact, reference)
        variant, wanted_outputs, _ = own
        parts = {
            key: [(outputs[key][:-1], array), (outputs[key][-1:], array[:1])]
            for key, array in wanted_outputs.items()
            if array.dtype != bool
        }
        norm_error, factor = quantized_check.measure(parts.values())
        quantized = QuantizedCheck(variant, norm_error, factor, quantized_check.measure_contrast(parts))
        check = replace(check, quantized=quantized)
    errors = (check.output_error, None if quantized is None else quantized.output_norm_error)
    if any(error is not None and not error <= max_output_error for error in errors):
        return check
    right = classify(exact, reference, samples)
    try:
        scores, *others = classify_in_all_ways(bundle, backend, samples)
    except EnrollmentError as error:
        reason, _, _ = str(error).partition(";")  # what to do is advice on the photos
        raise WrongEnginesError(f"what ONNX Runtime enrolls they do not: {reason}") from error
    if own is not None and quantized is not None:
        norm_error, factor = quantized_check.measure(pair_scores([scores, *others], own[2]))
        quantized = replace(quantized, distance_norm_error=norm_error, distance_factor=factor)
    given, wanted = scores.logits.argmax(axis=1), right.logits.argmax(axis=1)
    return replace(
        check,
        distance_error=_max(
            np.abs(array - expected) / np.abs(expected).mean(axis=1, keepdims=True)
            for pairs in pair_scores([scores, *others], right)
            for array, expected in pairs
        ),
        top1_agreement=_percent(given == wanted),
        accuracy=_percent(given == samples.answers),
        reference_accuracy=_percent(wanted == samples.answers),
        quantized=quantized,
    )


def find_excess(check: EngineCheck, precision: str) -> str:
    """Describe what exceeds the tolerances of "fp32", "fp16" or "int8"; empty if nothing does."""
    return ", ".join(_find_problems(check, _get_tolerances(precision)))


def _get_tolerances(precision: str) -> Tolerances:
    return _FLOAT32 if precision == "fp32" else TOLERANCES[precision]


def _find_output_error(outputs: Outputs, expected: Outputs, same: npt.NDArray[np.bool_]) -> float | None:
    values = [(outputs[key], array) for key, array in expected.items() if array.dtype != bool]
    if not all(np.isfinite(array).all() for array, _ in values):
        return math.nan
    if not same.any():
        return None
    return _max(_relative_errors(array[same], wanted[same]) for array, wanted in values)


def _run_quantized(
    bundle: Bundle, samples: Samples, exact: Bundle, reference: Backend
) -> tuple[str, Outputs, Scores]:
    """Return the variant, outputs and scores of INT8 graphs in ONNX Runtime; of float32 where it cannot."""
    backend = UnoptimizedBackend(bundle)
    try:
        outputs = run_graphs(bundle, backend, samples.queries)
        return bundle.variant, outputs, classify(bundle, backend, samples)
    except (BackendError, EnrollmentError):
        outputs = run_graphs(exact, reference, samples.queries)
        return exact.variant, outputs, classify(exact, reference, samples)


def _percent(hits: npt.NDArray[np.bool_]) -> float:
    return 100.0 * float(np.mean(hits))


def _find_problems(check: EngineCheck, allowed: Tolerances) -> Iterator[str]:
    """Describe what is exceeded; the comparisons fail for NaN."""
    if not check.mask_bits_differing <= allowed.mask_bits:
        yield f"{check.mask_bits_differing:.2%} of the mask bits differ (at most {allowed.mask_bits:.2%})"
    if check.output_error is not None and not check.output_error <= allowed.distance:
        yield f"outputs differ by {check.output_error:.2g} (at most {allowed.distance:.2g})"
        return
    if check.quantized is not None:
        yield from (problems := list(quantized_check.find_output_problems(check.quantized)))
        if problems:
            return
        yield from quantized_check.find_distance_problems(check.quantized)
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
