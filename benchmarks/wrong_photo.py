"""Rate at which the enrollment report finds a photo of another species.

A fifth species with five photos is enrolled into a gallery of four; in half of the trials the last of its
photos shows another species of the data.

    python -m benchmarks.wrong_photo default DATA... --split val --trials 125
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import compute_photo_statistics
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.enrollment.leave_one_out import EnrollmentCheck, check_enrollment
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, packed_gram
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.recognizer import Recognizer

SHOTS, OTHERS = 5, 4

Group = Mapping[str, Sequence[PhotoStatistics]]


def find_outlier(recognizer: Recognizer, photos: Sequence[PhotoStatistics], others: Group) -> int | None:
    """Return the index of the photo that the report calls unlike its species, or None."""
    species = {label: extend_species(None, label, rest) for label, rest in others.items()}
    species["new"] = extend_species(None, "new", photos)
    seen = [PreparedPhoto(p.pixels, len(p.pixels)) for p in photos if p.pixels is not None]
    work = EnrollmentCheck(recognizer.matcher, recognizer.background, "new", species, photos, seen)
    reports, *_ = check_enrollment(work)
    return next((i for i, report in enumerate(reports) if report.outlier), None)


def find_outlier_by_means(
    recognizer: Recognizer, photos: Sequence[PhotoStatistics], others: Group
) -> int | None:
    """Return the photo nearest to another species' mean relative to its siblings', or None: the baseline."""
    network = recognizer.bundle.manifest.network

    def normalize(members: Sequence[PhotoStatistics]) -> Any:
        grams = np.stack([packed_gram(network, p.arrays["query"]) for p in members])
        return grams / np.linalg.norm(grams, axis=1, keepdims=True)

    rows = normalize(photos)
    means = np.stack([normalize(members).mean(axis=0) for members in others.values()])
    sibling_means = (rows.sum(axis=0) - rows) / (len(rows) - 1)
    nearest = np.linalg.norm(rows[:, None] - means[None], axis=2).min(axis=1)
    excess = np.linalg.norm(rows - sibling_means, axis=1) - nearest
    return int(excess.argmax()) if excess.max() > 0 else None


def measure(recognizer: Recognizer, group: Group, trials: int, seed: int) -> dict[str, list[int]]:
    """Count for both checks: wrong photo named, any named beside a wrong photo, any named without one."""
    rng = np.random.default_rng(seed)
    counts = {"report": [0, 0, 0], "means": [0, 0, 0]}
    labels = sorted(group)
    for trial in range(2 * trials):
        shuffled = [labels[i] for i in rng.permutation(len(labels))]
        order = {label: [group[label][i] for i in rng.permutation(len(group[label]))] for label in shuffled}
        photos = order[shuffled[0]][:SHOTS]
        others = {label: order[label][:SHOTS] for label in shuffled[1 : 1 + OTHERS]}
        wrong = trial % 2 == 0
        if wrong:
            # A photo that the gallery does not hold.
            photos = [*photos[:-1], order[shuffled[1 + rng.integers(len(shuffled) - 1)]][SHOTS]]
        for name, check in (("report", find_outlier), ("means", find_outlier_by_means)):
            answer = check(recognizer, photos, others)
            counts[name][0] += wrong and answer == SHOTS - 1
            counts[name][1] += wrong and answer is not None
            counts[name][2] += not wrong and answer is not None
    return counts


def summarize(counts: Sequence[int], trials: int) -> dict[str, float]:
    """Return recall, precision and false alarms in percent, each with the half-width of its 95 % interval.

    The intervals use the normal approximation.
    """
    right, named, false = counts
    values = {"recall": (right, trials), "precision": (right, max(named, 1)), "false_alarms": (false, trials)}
    figures: dict[str, float] = {}
    for name, (count, total) in values.items():
        share = count / total
        figures |= {name: 100 * share, f"{name}_ci95": 196 * float(np.sqrt(share * (1 - share) / total))}
    return figures


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option(
    "--trials", default=125, show_default=True, help="Trials with a wrong photo, and as many without."
)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(bundle: str, data: tuple[Path, ...], split: str, trials: int, seed: int, as_json: bool) -> None:
    """Measure recall, precision and false alarms of the enrollment check on each DATA and on all."""
    recognizer = load(bundle, keep_thumbnails=True, threads=1)
    results = []
    total = {"report": [0, 0, 0], "means": [0, 0, 0]}
    with progress() as report:
        for path in data:
            group = compute_photo_statistics(recognizer, open_dataset(path, split).classes, None, report)
            for check, counts in measure(recognizer, group, trials, seed).items():
                total[check] = [a + b for a, b in zip(total[check], counts, strict=True)]
                results.append({"data": str(path), "check": check, **summarize(counts, trials)})
    results += [
        {"data": "all", "check": check, **summarize(counts, trials * len(data))}
        for check, counts in total.items()
    ]
    if as_json:
        click.echo(json.dumps({"bundle": bundle, "split": split, "trials": trials, "results": results}))
        return
    names = ("recall", "precision", "false_alarms")
    rows = [
        [str(r["data"]), str(r["check"]), *(f"{r[n]:.0f} ± {r[f'{n}_ci95']:.0f} %" for n in names)]
        for r in results
    ]
    print_table(f"{bundle} ({split})", ["data", "check", "recall", "precision", "false alarms"], rows)


if __name__ == "__main__":
    main()
