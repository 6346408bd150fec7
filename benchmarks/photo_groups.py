"""Photos that count as one: changed copies of photos, and pairs of different photos of one species.

python -m benchmarks.photo_groups BUNDLE DATA... --photos 32
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.bursts import make_copies
from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import compute_photo_statistics
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.datasets.dataset import Dataset, open_dataset
from hmdrn_runtime.enrollment.photo_groups import COPY, measure_likeness
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.images.quality import prepare_photo
from hmdrn_runtime.recognizer import Recognizer

MOST = 40
"""Photos of a species that are compared with each other."""


def measure_false(network: Network, photos: Mapping[str, Sequence[PhotoStatistics]]) -> float:
    """Return the percentage of pairs of different photos of one species that count as one."""
    pairs = [
        measure_likeness(network, members)[np.triu_indices(len(members), 1)] for members in photos.values()
    ]
    return 100 * float((np.concatenate(pairs) >= COPY).mean())


def measure_found(recognizer: Recognizer, dataset: Dataset, count: int) -> dict[str, float]:
    """Return the percentage of copies of `count` photos that count as one with them, by kind of change."""
    rng = np.random.default_rng(0)
    photos = [photo for members in dataset.classes.values() for photo in members]
    found: dict[str, list[bool]] = {}
    for i in rng.permutation(len(photos))[:count]:
        image = photos[i].load()
        copies = make_copies(image, rng)
        pixels = [prepare_photo(one, recognizer.preprocessing).pixels for one in (image, *copies.values())]
        statistics = recognizer.matcher.compute_statistics(np.stack(pixels))
        likeness = measure_likeness(recognizer.bundle.manifest.network, statistics)[0, 1:]
        for kind, value in zip(copies, likeness, strict=True):
            found.setdefault(kind, []).append(bool(value >= COPY))
    return {kind: 100 * float(np.mean(flags)) for kind, flags in found.items()}


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option("--photos", default=32, show_default=True, help="Photos of a data set that are copied.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(bundle: str, data: tuple[Path, ...], split: str, photos: int, as_json: bool) -> None:
    """Measure false and found groups on each DATA."""
    recognizer = load(bundle, threads=1)
    results: list[dict[str, Any]] = []
    with progress() as report:
        for path in data:
            dataset = open_dataset(path, split)
            statistics = compute_photo_statistics(recognizer, dataset.classes, MOST, report)
            false = measure_false(recognizer.bundle.manifest.network, statistics)
            found = measure_found(recognizer, dataset, photos)
            results.append({"data": path.name, "false": false, "found": found})
    if as_json:
        click.echo(json.dumps({"bundle": bundle, "split": split, "photos": photos, "results": results}))
        return
    kinds = list(results[0]["found"])
    rows = [
        [r["data"], f"{r['false']:.2f} %", *(f"{r['found'][kind]:.0f} %" for kind in kinds)] for r in results
    ]
    print_table(f"{bundle} ({split})", ["data", "different photos", *kinds], rows)


if __name__ == "__main__":
    main()
