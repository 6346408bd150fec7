"""Does the enrollment report name a photo of another species? A gallery of four species, and a fifth of five
photos; in half of the trials the last of these shows some other species of the data.

    python -m benchmarks.wrong_photo default DATA... --split val --trials 125
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from hmdrn.cli.options import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import photo_statistics
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.enrollment.leave_one_out import Examination, examine
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, packed_gram
from hmdrn_runtime.gallery.species import with_photos
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.recognizer import Recognizer

SHOTS, OTHERS = 5, 4

Group = Mapping[str, Sequence[PhotoStatistics]]


def named(recognizer: Recognizer, photos: Sequence[PhotoStatistics], others: Group) -> int | None:
    """Which photo the report calls unlike its species; None for none of them."""
    species = {label: with_photos(None, label, rest) for label, rest in others.items()}
    species["new"] = with_photos(None, "new", photos)
    seen = [PreparedPhoto(np.frombuffer(p.thumbnail or b"", np.uint8).reshape(84, 84, 3), 84) for p in photos]
    work = Examination(recognizer.matcher, recognizer.background, "new", species, photos, seen)
    reports, *_ = examine(work)
    return next((i for i, report in enumerate(reports) if report.odd), None)


def named_by_means(recognizer: Recognizer, photos: Sequence[PhotoStatistics], others: Group) -> int | None:
    """The plain check: the photo nearest to another species' mean, compared with that of its siblings."""
    network = recognizer.bundle.manifest.network

    def rows(members: Sequence[PhotoStatistics]) -> Any:
        found = np.stack([packed_gram(network, p.arrays["query"]) for p in members])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    mine, means = rows(photos), np.stack([rows(members).mean(axis=0) for members in others.values()])
    siblings = (mine.sum(axis=0) - mine) / (len(mine) - 1)
    excess = np.linalg.norm(mine - siblings, axis=1) - np.linalg.norm(
        mine[:, None] - means[None], axis=2
    ).min(axis=1)
    return int(excess.argmax()) if excess.max() > 0 else None


def measure(recognizer: Recognizer, group: Group, trials: int, seed: int) -> dict[str, list[int]]:
    """Counts (named rightly, named at all with a wrong photo, named without one) of both checks."""
    rng = np.random.default_rng(seed)
    found = {"report": [0, 0, 0], "means": [0, 0, 0]}
    labels = sorted(group)
    for trial in range(2 * trials):
        drawn = [labels[i] for i in rng.permutation(len(labels))]
        order = {label: [group[label][i] for i in rng.permutation(len(group[label]))] for label in drawn}
        photos = order[drawn[0]][:SHOTS]
        others = {label: order[label][:SHOTS] for label in drawn[1 : 1 + OTHERS]}
        wrong = trial % 2 == 0
        if wrong:
            # Not one of those that the gallery holds already.
            photos = [*photos[:-1], order[drawn[1 + rng.integers(len(drawn) - 1)]][SHOTS]]
        for name, check in (("report", named), ("means", named_by_means)):
            answer = check(recognizer, photos, others)
            found[name][0] += wrong and answer == SHOTS - 1
            found[name][1] += wrong and answer is not None
            found[name][2] += not wrong and answer is not None
    return found


def summary(counts: Sequence[int], trials: int) -> dict[str, float]:
    """Percent, each with the half-width of its 95 % interval (normal approximation)."""
    right, any_, false = counts
    values = {"recall": (right, trials), "precision": (right, max(any_, 1)), "false_alarms": (false, trials)}
    found: dict[str, float] = {}
    for name, (part, of) in values.items():
        share = part / of
        found |= {name: 100 * share, f"{name}_ci95": 196 * float(np.sqrt(share * (1 - share) / of))}
    return found


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Which species.")
@click.option("--trials", default=125, show_default=True, help="With a wrong photo, and as many without.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(bundle: str, data: tuple[Path, ...], split: str, trials: int, seed: int, as_json: bool) -> None:
    """Measure recall, precision and false alarms of the check of enrolled photos on each DATA and all."""
    recognizer = load(bundle, keep_thumbnails=True, threads=1)
    results = []
    total = {"report": [0, 0, 0], "means": [0, 0, 0]}
    with progress() as report:
        for path in data:
            group = photo_statistics(recognizer, open_dataset(path, split).classes, None, report)
            for check, counts in measure(recognizer, group, trials, seed).items():
                total[check] = [a + b for a, b in zip(total[check], counts, strict=True)]
                results.append({"data": str(path), "check": check, **summary(counts, trials)})
    results += [
        {"data": "all", "check": check, **summary(counts, trials * len(data))}
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
