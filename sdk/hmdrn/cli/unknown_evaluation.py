"""`hmdrn eval --unknown`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hmdrn.cli.options import print_json, print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import photo_statistics, require_background
from hmdrn_calibration.open_set.evaluation import reject
from hmdrn_runtime.datasets.dataset import Dataset
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.evaluation.evaluation import Setting
from hmdrn_runtime.matching.ridge import RidgeMatcher


def evaluate_unknown(
    bundle: str,
    split: str,
    datasets: Sequence[Dataset],
    settings: Sequence[Setting],
    far: float,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how unknown species are refused on each data set, and print it.

    Raises:
        BundleError: The bundle has no background.
        DatasetError: Too few species or photos.
        ImageError: A photo that cannot be read.
    """
    recognizer = load(bundle, threads=threads)
    background, matcher = require_background(recognizer), recognizer.matcher
    if not isinstance(matcher, RidgeMatcher):
        raise HmdrnError("--unknown is for bundles with the ridge head: this one's is attention")
    results: list[dict[str, Any]] = []
    with progress() as report:
        for dataset in datasets:
            photos = photo_statistics(recognizer, dataset.classes, None, report)
            for setting in settings:
                found = reject(matcher, photos, background, setting, far)
                about = {"data": str(dataset.source), "way": setting.way, "shot": setting.shot}
                results.append(
                    {**about, "episodes": setting.episodes, "seed": setting.seed, **found.to_dict()}
                )
    if as_json:
        print_json("eval.unknown", {"bundle": bundle, "split": split, **results[0], "results": results})
        return
    rows = [
        [
            r["data"],
            str(r["shot"]),
            f"{r['auroc']:.1f} ± {r['auroc_ci95']:.1f} %",
            f"{r['fpr95']:.1f} ± {r['fpr95_ci95']:.1f} %",
            f"{r['false_accepts']:.1f} ± {r['false_accepts_ci95']:.1f} %",
            f"{r['true_accepts']:.1f} ± {r['true_accepts_ci95']:.1f} %",
            f"{r['ece_before']:.1f} / {r['ece']:.1f} %",
        ]
        for r in results
    ]
    columns = [
        "data",
        "shots",
        "AUROC",
        "FPR at 95 % TPR",
        "false accepts",
        "true accepts",
        "ECE before / after",
    ]
    way, episodes = settings[0].way, settings[0].episodes
    print_table(f"{bundle} ({split}), {way} known species, {episodes} galleries, FAR {far:g}", columns, rows)
