"""Effect of INT8 on a bundle: sizes, speed on one core, accuracy against FP32 on the same episodes.

python -m benchmarks.int8 BUNDLE [DATA] [--episodes 2000] [--allow-busy] [--json]

BUNDLE was exported with --precision int8. DATA holds photos that it was not calibrated on, such as the split
val where ranges were observed on train. Without DATA accuracy is not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.common import BenchmarkRun, Result, Table, main
from hmdrn_calibration.quantization.in_memory_backend import InMemoryBackend, make_recognizer
from hmdrn_calibration.quantization.layers import load_photo_graphs
from hmdrn_calibration.quantization.qdq_placement import ORT, TRT
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.evaluation.evaluation import BundleScorer, EpisodeSetting, compare_accuracy, evaluate
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.timing import Call
from hmdrn_runtime.recognizer import Recognizer

CLASSES = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--split", default="val")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=16)


def measure(run: BenchmarkRun) -> Result:
    """Measure sizes, speed and accuracy."""
    arguments = run.arguments
    bundle = open_bundle(arguments.bundle)
    missing = [d.variant for d in (ORT, TRT) if d.variant not in bundle.manifest.variants]
    if missing:
        raise HmdrnError(
            f"{arguments.bundle} has no variant {' or '.join(missing)}: "
            "export it with --precision int8 --calibration DATA"
        )
    values = {
        "bundle": str(arguments.bundle),
        "data": None if arguments.data is None else str(arguments.data),
        "split": arguments.split,
        "sizes": measure_sizes(bundle),
        "speed": measure_speed(run, bundle),
        "accuracy": [] if arguments.data is None else measure_accuracy(bundle, arguments),
    }
    rows = [[part, json.dumps(values[part])] for part in ("sizes", "speed")]
    rows += [
        [f"accuracy, {row['variant']}, {row['shot']} shots", json.dumps(row)] for row in values["accuracy"]
    ]
    return Result(values, [Table("INT8", ["what", "result"], rows)])


def measure_sizes(bundle: Bundle) -> dict[str, float]:
    """Return the size of each classify graph with its weights, as a share of FP32's."""

    def size(variant: str) -> float:
        return float(load_photo_graphs(replace(bundle, variant=variant))["classify"].ByteSize())

    return {variant: size(variant) / size("fp32") for variant in (ORT.variant, TRT.variant)}


def measure_speed(run: BenchmarkRun, bundle: Bundle) -> dict[str, Any]:
    """Time one photo and five classes on one thread, FP32 and INT8 in turns; the ratio is FP32 over INT8."""
    inputs = draw_inputs(bundle)
    calls: dict[str, Call] = {
        variant: partial(open_backend(replace(bundle, variant=variant), threads=1).run, "classify", inputs)
        for variant in ("fp32", ORT.variant)
    }
    times = run.time_interleaved(calls)
    latencies = {variant: asdict(Latency.from_seconds(seconds)) for variant, seconds in times.items()}
    return {**latencies, "ratio": asdict(ratio_of_medians(times["fp32"], times[ORT.variant]))}


def draw_inputs(bundle: Bundle) -> dict[str, Any]:
    """Draw random inputs of `classify` for one photo and five classes of one photo each."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for tensor in bundle.graph("classify").inputs:
        # Keys of one photo per class: as many tokens as the level has.
        tokens = {f"tokens_{level.name}": level.tokens for level in bundle.manifest.network.levels}
        sizes = {"batch": 1, "classes": CLASSES, **tokens}
        shape = tuple(sizes[d] if isinstance(d, str) else d for d in tensor.shape)
        values = rng.integers(0, 256, shape) if tensor.dtype == "uint8" else rng.random(shape)
        inputs[tensor.name] = (
            np.asarray(values).astype(tensor.dtype) if tensor.dtype != "bool" else np.ones(shape, bool)
        )
    return inputs


def measure_accuracy(bundle: Bundle, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure 5-way accuracy at 1 and 5 shots of FP32 and both variants on the same episodes."""
    classes = open_dataset(arguments.data, arguments.split).classes
    settings = [EpisodeSetting(5, shot, arguments.queries, arguments.episodes) for shot in (1, 5)]
    fp32 = Recognizer(bundle, open_backend(bundle))
    reference = evaluate(BundleScorer(fp32), classes, settings)
    rows = []
    for dialect in (ORT, TRT):
        candidate = make_recognizer(
            bundle, _open_candidate(bundle, dialect.variant, dialect is ORT), dialect.variant
        )
        for int8, fp32_result in zip(
            evaluate(BundleScorer(candidate), classes, settings), reference, strict=True
        ):
            change = compare_accuracy(int8, fp32_result)
            rows.append(
                {
                    "variant": dialect.variant,
                    "shot": int8.setting.shot,
                    "queries": int8.setting.queries,
                    "episodes": int8.setting.episodes,
                    "fp32": fp32_result.accuracy,
                    "int8": int8.accuracy,
                    "difference": change.points,
                    "difference_ci95": change.ci95,
                    "executor": int8.executor + (", integer kernels" if dialect is ORT else ", imitated"),
                }
            )
    return rows


def _open_candidate(bundle: Bundle, variant: str, integer_kernels: bool) -> Backend:
    chosen = replace(bundle, variant=variant)
    names = [name for name, graph in bundle.manifest.variants[variant].items() if graph.precision == "int8"]
    models = {name: onnx.load(chosen.graph_path(name)) for name in names}
    return InMemoryBackend(models, open_backend(bundle), integer_kernels=integer_kernels)


if __name__ == "__main__":
    sys.exit(main("int8/2", __doc__, measure, add_options))
