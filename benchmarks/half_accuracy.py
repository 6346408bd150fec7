"""Cost of half precision: episodic accuracy of the fp16 graphs against the network, on the same episodes.

python -m benchmarks.half_accuracy DATA... [--checkpoint default] [--episodes 2000] [--json]

The graphs run in an executor that rounds every half result; the network runs in torch, in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hmdrn.loading import resolve_checkpoint
from hmdrn_export.exporter import export_bundle
from hmdrn_export.precision.rounding_backend import RoundingBackend
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.scoring import NetworkScorer
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.evaluation.evaluation import (
    BundleScorer,
    EpisodeSetting,
    Evaluation,
    TokenScorer,
    compare_accuracy,
    evaluate,
)
from hmdrn_runtime.recognizer import Recognizer


def main() -> None:
    """Export, measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, help="folders or zips of photos")
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--preprocess", choices=["crop", "squash"], default="crop")
    parser.add_argument("--split", default="val")
    parser.add_argument("--shot", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    start = time.monotonic()
    checkpoint = load_checkpoint(resolve_checkpoint(arguments.checkpoint))
    settings = [
        EpisodeSetting(shot=shot, queries=arguments.queries, episodes=arguments.episodes)
        for shot in arguments.shot
    ]
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.hmdrn"
        verification = export_bundle(checkpoint, path, "fp16", arguments.preprocess)
        bundle = open_bundle(path, "fp16")
        for data in arguments.data:
            classes = open_dataset(data, arguments.split).classes
            single = evaluate(NetworkScorer(checkpoint.network, arguments.preprocess), classes, settings)
            scorer = BundleScorer if bundle.manifest.network.head == "ridge" else TokenScorer
            half = evaluate(scorer(Recognizer(bundle, RoundingBackend(bundle))), classes, settings)
            rows = [_compare(data, *pair) for pair in zip(half, single, strict=True)]
            results += rows
            if not arguments.json:
                print(*map(_format_row, rows), sep="\n", flush=True)
    report = {
        "schema": "hmdrn.benchmark.half_accuracy/1",
        "checkpoint": arguments.checkpoint,
        "split": arguments.split,
        "seconds": round(time.monotonic() - start),
        "verification": verification.to_dict(),
        "results": results,
    }
    if arguments.json:
        json.dump(report, sys.stdout, indent=2)


def _compare(data: Path, half: Evaluation, single: Evaluation) -> dict[str, Any]:
    change = compare_accuracy(half, single)
    setting = half.setting
    return {
        "data": data.name,
        "way": setting.way,
        "shot": setting.shot,
        "queries": setting.queries,
        "episodes": setting.episodes,
        "fp16": half.accuracy,
        "fp32": single.accuracy,
        "difference": change.points,
        "difference_ci95": change.ci95,
        # Within 0.05 points, or not significantly different from zero.
        "holds": abs(change.points) <= max(0.05, change.ci95),
        "executors": {"fp16": half.executor, "fp32": single.executor},
    }


def _format_row(result: dict[str, Any]) -> str:
    return (
        f"{result['data']:22} {result['shot']} shots: fp16 {result['fp16']:.2f} %, "
        f"fp32 {result['fp32']:.2f} %, "
        f"difference {result['difference']:+.3f} ± {result['difference_ci95']:.3f} points"
    )


if __name__ == "__main__":
    main()
