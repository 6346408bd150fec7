"""`hmdrn eval --unknown`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hmdrn.cli.output import print_table, progress
from hmdrn.open_set import compute_photo_statistics, require_background
from hmdrn_calibration.open_set.evaluation import evaluate_rejection
from hmdrn_runtime.datasets.dataset import Dataset
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.recognizer import Recognizer


def evaluate_unknown(
    recognizer: Recognizer,
    datasets: Sequence[Dataset],
    settings: Sequence[EpisodeSetting],
    rate: float,
    reader: PhotoReader,
) -> list[dict[str, Any]]:
    """Measure on each data set how well unknown species are refused; return a JSON-ready result for each.

    The reader collects photos that cannot be read.
    """
    background, matcher = require_background(recognizer), recognizer.matcher
    if not isinstance(matcher, RidgeMatcher):
        raise HmdrnError("--unknown is for bundles with the ridge head: this one's is attention")
    results = []
    with progress() as report:
        for dataset in datasets:
            photos = compute_photo_statistics(recognizer, dataset.classes, None, report, reader)
            for setting in settings:
                rejection = evaluate_rejection(matcher, photos, background, setting, rate)
                values = {name: getattr(setting, name) for name in ("way", "shot", "episodes", "seed")}
                results.append({"data": str(dataset.source), **values, **rejection.to_dict()})
    return results


def show_rejections(title: str, results: Sequence[dict[str, Any]]) -> None:
    """Print a row for each result."""
    columns = {
        "AUROC": "auroc",
        "FPR at 95 % TPR": "fpr95",
        "false accepts": "false_accepts",
        "true accepts": "true_accepts",
    }
    rows = [
        [
            r["data"],
            str(r["way"]),
            str(r["shot"]),
            *(f"{r[key]:.1f} ± {r[f'{key}_ci95']:.1f} %" for key in columns.values()),
            f"{r['ece_before']:.1f} / {r['ece']:.1f} %",
        ]
        for r in results
    ]
    print_table(title, ["data", "species", "shots", *columns, "ECE before / after"], rows)
