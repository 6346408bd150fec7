"""Accuracy on species that no model of ours saw, against milliseconds on one core and megabytes.

python -m benchmarks.pareto DATA... [--bundle BUNDLE[:VARIANT]]... [--litert FILE.tflite]... [--episodes N]
    [--figure PICTURE] [--no-time] [--json]

Every model classifies the same episodes of each val split: 5-way, with 1 and 5 support photos. Its time is
that of one prepared photo to the answer among five species, on one thread, in turns. --no-time measures the
accuracy alone, on a machine that is busy. The teachers in LiteRT know most of the species of their groups.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import BenchmarkRun, Result, Table, main
from benchmarks.frozen_backbone import fit_settings
from benchmarks.pareto.contenders import Contender, open_bundle, open_imagenet, open_litert
from benchmarks.pareto.picture import draw_pareto
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.evaluation.evaluation import Evaluation, evaluate
from hmdrn_runtime.profiling.timing import TimingPlan

WAY, SHOTS = 5, (1, 5)
IMAGENET_SIDES = (128, 224)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("data", nargs="+", type=Path, help="zips or folders with splits train and val")
    parser.add_argument("--bundle", action="append", default=None, metavar="BUNDLE[:VARIANT]")
    parser.add_argument("--litert", action="append", default=[], type=Path, metavar="FILE.tflite")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--figure", type=Path, help="draw accuracy against time and size")
    parser.add_argument("--no-time", action="store_true", help="measure the accuracy alone")


def measure(run: BenchmarkRun) -> Result:
    """Time all models in turns, then evaluate each on the same episodes."""
    options = run.arguments
    contenders = _open_contenders(options)
    seconds = {} if options.no_time else run.time_interleaved({c.name: c.make_call() for c in contenders})
    models: list[dict[str, Any]] = []
    for contender in contenders:
        models.append(
            {
                "name": contender.name,
                "ours": contender.ours,
                "side": contender.side,
                "bytes": contender.bytes,
                "ms": 1e3 * float(np.median(seconds[contender.name])) if seconds else None,
                "accuracies": [
                    _describe(data.stem, evaluation)
                    for data in options.data
                    for evaluation in _evaluate(contender, data, options.episodes)
                ],
            }
        )
        print(f"{contender.name}: {len(options.data)} groups evaluated", file=sys.stderr)
    if options.figure:
        draw_pareto(models, options.figure)
    return Result({"models": models}, [_make_table(models, shot) for shot in SHOTS])


def _open_contenders(options: argparse.Namespace) -> list[Contender]:
    bundles = [text.rpartition(":") for text in options.bundle or ["default:fp32"]]
    return [
        *(open_bundle(path or variant, variant if path else None) for path, _, variant in bundles),
        *(open_imagenet(side, options.data) for side in IMAGENET_SIDES),
        *(open_litert(path, options.data) for path in options.litert),
    ]


def _evaluate(contender: Contender, data: Path, episodes: int) -> list[Evaluation]:
    classes = open_dataset(data, "val").classes
    return evaluate(contender.make_scorer(), classes, fit_settings(classes, WAY, SHOTS, episodes))


def _describe(data: str, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "data": data,
        "shot": evaluation.setting.shot,
        "accuracy": evaluation.accuracy,
        "ci95": evaluation.ci95,
    }


def _make_table(models: list[dict[str, Any]], shot: int) -> Table:
    """Tabulate accuracies with the shot nearest to `shot` (groups with few photos have 4 in place of 5)."""
    groups = list(dict.fromkeys(entry["data"] for entry in models[0]["accuracies"]))
    rows = []
    for model in models:
        cells = [f"{model['ms']:.2f}" if model["ms"] is not None else "-", f"{model['bytes'] / 1e6:.1f}"]
        for group in groups:
            entries = [entry for entry in model["accuracies"] if entry["data"] == group]
            entry = min(entries, key=lambda entry: abs(entry["shot"] - shot))
            cells.append(f"{entry['accuracy']:.1f} ± {entry['ci95']:.1f}")
        rows.append([model["name"], *cells])
    return Table(f"{WAY}-way, {shot} support photos a class", ["model", "ms", "MB", *groups], rows)


if __name__ == "__main__":
    sys.exit(main("pareto/1", __doc__, measure, add_options, TimingPlan(seconds=4.0, runs=50, limit=20.0)))
