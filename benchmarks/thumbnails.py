"""Cost of JPEG thumbnails: accuracy of species enrolled from thumbnails and from the photos themselves.

python -m benchmarks.thumbnails default ../shared/data/birds_cub.zip
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import click
import numpy as np

from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.thumbnail import decode_thumbnail, encode_thumbnail
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

WAY, SHOT, QUERIES = 5, 5, 10


def read_pairs(
    recognizer: Recognizer, data: Path, split: str, limit: int, report: ProgressCallback
) -> tuple[list[list[tuple[PhotoStatistics, PhotoStatistics]]], float]:
    """Return photos by species, each from its pixels and its thumbnail; and the thumbnails' mean bytes."""
    rng = np.random.default_rng(0)
    pairs: list[list[tuple[PhotoStatistics, PhotoStatistics]]] = []
    sizes: list[int] = []
    classes = open_dataset(data, split).classes
    for done, photos in enumerate(classes.values()):
        report("encoding photos", done, len(classes))
        chosen = [photos[i] for i in rng.permutation(len(photos))[:limit]]
        pixels = np.stack([photo.prepare(recognizer.preprocessing) for photo in chosen])
        thumbnails = [encode_thumbnail(image) for image in pixels]
        sizes += map(len, thumbnails)
        again = recognizer.matcher.compute_statistics(np.stack([decode_thumbnail(t) for t in thumbnails]))
        pairs.append(list(zip(recognizer.matcher.compute_statistics(pixels), again, strict=True)))
    return pairs, float(np.mean(sizes))


def measure(
    recognizer: Recognizer,
    pairs: list[list[tuple[PhotoStatistics, PhotoStatistics]]],
    episodes: int,
    seed: int,
) -> dict[str, float]:
    """Return the accuracy of both in percent, and the paired difference with its 95 % interval."""
    rng = np.random.default_rng(seed)
    usable = [photos for photos in pairs if len(photos) > SHOT]
    rows = []
    for _ in range(episodes):
        chosen = rng.choice(len(usable), WAY, replace=False).tolist()
        shuffled = [rng.permutation(len(usable[c])) for c in chosen]
        queries = [
            (label, usable[c][i][0])
            for label, (c, order) in enumerate(zip(chosen, shuffled, strict=True))
            for i in order[SHOT : SHOT + QUERIES]
        ]
        labels = np.array([label for label, _ in queries])
        accuracies = []
        for kind in (0, 1):
            species = [
                Species(
                    str(c), MappingProxyType({p.digest: p for i in order[:SHOT] if (p := usable[c][i][kind])})
                )
                for c, order in zip(chosen, shuffled, strict=True)
            ]
            logits = recognizer.matcher.compare([photo for _, photo in queries], {}, species)
            accuracies.append(100 * float((logits.argmax(axis=1) == labels).mean()))
        rows.append(accuracies)
    table = np.array(rows)
    difference = table[:, 1] - table[:, 0]
    return {
        "photos": float(table[:, 0].mean()),
        "thumbnails": float(table[:, 1].mean()),
        "difference": float(difference.mean()),
        "difference_ci95": float(1.96 * difference.std(ddof=1) / np.sqrt(episodes)),
    }


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option("--episodes", default=200, show_default=True, help="Episodes, 5-way 5-shot, on each DATA.")
@click.option("--limit", default=15, show_default=True, help="Photos of a species that are used.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    bundle: str, data: tuple[Path, ...], split: str, episodes: int, limit: int, seed: int, as_json: bool
) -> None:
    """Compare enrollment from thumbnails with enrollment from the photos, on the same episodes."""
    recognizer = load(bundle, threads=1)
    results = []
    with progress() as report:
        for path in data:
            pairs, size = read_pairs(recognizer, path, split, limit, report)
            results.append({"data": str(path), "bytes": size, **measure(recognizer, pairs, episodes, seed)})
    if as_json:
        click.echo(json.dumps({"bundle": bundle, "split": split, "episodes": episodes, "results": results}))
        return
    rows = [
        [
            str(r["data"]),
            f"{r['bytes']:.0f}",
            *(f"{r[key]:.2f} %" for key in ("photos", "thumbnails")),
            f"{r['difference']:+.2f} ± {r['difference_ci95']:.2f}",
        ]
        for r in results
    ]
    print_table(f"{bundle} ({split})", ["data", "bytes", "photos", "thumbnails", "difference"], rows)


if __name__ == "__main__":
    main()
