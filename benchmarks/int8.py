"""What INT8 does to a bundle: accuracy against FP32 on the same episodes, sizes, and speed at one thread.

python benchmarks/int8.py BUNDLE DATA [--episodes 2000] [--json]

BUNDLE was exported with --precision int8; DATA has photographs that it was not calibrated on, such as the
split val where ranges were observed on train. Times of both variants are taken in turns in one run: on a
machine with other work to do they say little by themselves, and their ratio still holds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hmdrn_calibration.candidates import CandidateBackend, recognizer
from hmdrn_calibration.placement import ORT, TRT
from hmdrn_runtime.backends import Backend, open_backend
from hmdrn_runtime.bundle import Bundle, open_bundle
from hmdrn_runtime.datasets import open_dataset
from hmdrn_runtime.evaluation import BundleScorer, Setting, difference, evaluate
from hmdrn_runtime.recognizer import Recognizer

CLASSES = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    result = {
        "schema": "hmdrn.benchmark.int8/1",
        "bundle": str(arguments.bundle),
        "data": str(arguments.data),
        "split": arguments.split,
        "load_average": os.getloadavg()[0],
        "sizes": sizes(bundle),
        "speed": speed(bundle, arguments.runs),
        "accuracy": accuracy(bundle, arguments) if arguments.episodes else [],
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for part in ("sizes", "speed"):
        print(part, json.dumps(result[part]))
    for row in result["accuracy"]:
        print(json.dumps(row))


def sizes(bundle: Bundle) -> dict[str, float]:
    """Size of each classify graph with its weights, as a share of FP32's."""

    def size(variant: str) -> int:
        return onnx.load(replace(bundle, variant=variant).graph_path("classify")).ByteSize()

    return {variant: size(variant) / size("fp32") for variant in (ORT.variant, TRT.variant)}


def speed(bundle: Bundle, runs: int) -> dict[str, float]:
    """Milliseconds for one photo and five classes at one thread, FP32 and INT8 in turns, and their ratio."""
    backends = {v: open_backend(replace(bundle, variant=v), threads=1) for v in ("fp32", ORT.variant)}
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for tensor in bundle.graph("classify").inputs:
        shape = tuple(1 if d == "batch" else CLASSES if d == "classes" else d for d in tensor.shape)
        # Keys of one photo for each class: as many tokens as the level has.
        tokens = {f"tokens_{level.name}": level.tokens for level in bundle.manifest.network.levels}
        shape = tuple(tokens.get(str(d), d) for d in shape)
        values = rng.integers(0, 256, shape) if tensor.dtype == "uint8" else rng.random(shape)
        inputs[tensor.name] = (
            np.asarray(values).astype(tensor.dtype) if tensor.dtype != "bool" else np.ones(shape, bool)
        )
    times: dict[str, list[float]] = {variant: [] for variant in backends}
    for turn in range(runs + 10):
        for variant, backend in backends.items():
            start = time.perf_counter()
            backend.run("classify", inputs)
            if turn >= 10:  # the first calls load and warm up
                times[variant].append(1e3 * (time.perf_counter() - start))
    medians = {f"{variant}_ms": statistics.median(values) for variant, values in times.items()}
    ratios = [a / b for a, b in zip(times["fp32"], times[ORT.variant], strict=True)]
    return {
        **medians,
        "ratio_of_medians": medians["fp32_ms"] / medians[f"{ORT.variant}_ms"],
        "median_of_ratios": statistics.median(ratios),
        "ratio_of_minima": min(times["fp32"]) / min(times[ORT.variant]),
    }


def accuracy(bundle: Bundle, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """5-way accuracy at 1 and 5 shots of FP32 and both variants on the same episodes."""
    classes = open_dataset(arguments.data, arguments.split).classes
    settings = [Setting(5, shot, arguments.queries, arguments.episodes) for shot in (1, 5)]
    fp32 = Recognizer(bundle, open_backend(bundle))
    reference = evaluate(BundleScorer(fp32), classes, settings)
    rows = []
    for dialect in (ORT, TRT):
        candidate = recognizer(bundle, _backend(bundle, dialect.variant, dialect is ORT), dialect.variant)
        for one, other in zip(evaluate(BundleScorer(candidate), classes, settings), reference, strict=True):
            change = difference(one, other)
            rows.append(
                {
                    "variant": dialect.variant,
                    "shot": one.setting.shot,
                    "queries": one.setting.queries,
                    "episodes": one.setting.episodes,
                    "fp32": other.accuracy,
                    "int8": one.accuracy,
                    "difference": change.points,
                    "difference_ci95": change.ci95,
                    "executor": one.executor + (", integer kernels" if dialect is ORT else ", imitated"),
                }
            )
    return rows


def _backend(bundle: Bundle, variant: str, integer_kernels: bool) -> Backend:
    chosen = replace(bundle, variant=variant)
    names = [name for name, graph in bundle.manifest.variants[variant].items() if graph.precision == "int8"]
    models = {name: onnx.load(chosen.graph_path(name)) for name in names}
    return CandidateBackend(models, open_backend(bundle), integer_kernels=integer_kernels)


if __name__ == "__main__":
    main()
