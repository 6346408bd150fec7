"""Accuracy of a model before and after fine-tuning on a folder of species, on other photos of them.

    python -m benchmarks.finetuning DATA... --seeds 3 --folder runs/finetuning

Of each species `--photos` photos, at most two thirds of them, make up the folder, on which `hmdrn distill`
runs as for a user. Then both networks name the other photos among all species of the folder, from galleries
of 1, 5 and all of its photos. Some species are not in the folder, as long as ten are: galleries of 1 and 5 of
their photos show whether the network still serves species that it was not tuned on. Every difference is
paired: same photos, same galleries. A measurement that is in `--folder` already is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.common import print_values
from benchmarks.folder_galleries import Rows, open_scorer, score, split_photos
from benchmarks.frozen_backbone import GramScorer
from hmdrn.cli.output import print_table
from hmdrn.loading import resolve_checkpoint
from hmdrn_network.checkpoints import RUN_CHECKPOINT, load_checkpoint
from hmdrn_network.training.distillation.recipe import load_recipe
from hmdrn_network.training.history import History
from hmdrn_network.training.run import HISTORY
from hmdrn_runtime.datasets.dataset import Photo, open_dataset
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.io.files import write_atomically


@dataclass(frozen=True)
class Options:
    """Settings of a measurement.

    Attributes:
        recipe: Recipe of the package, or a JSON file.
        start: The checkpoint to start from.
        guide: The checkpoint that guides; None for none.
        photos: Photos of a species in the folder.
        others: Species that are not in the folder.
        split: Split of the data.
    """

    recipe: str
    start: Path
    guide: Path | None
    photos: int
    others: int
    split: str

    def digest(self, data: Path) -> str:
        """Identify the measurement on a data set by its settings, recipe and start."""
        start = load_checkpoint(self.start)
        recipe = load_recipe(self.recipe, start.network.config).to_dict()
        guide = self.guide and load_checkpoint(self.guide).sha256
        settings = (recipe, start.sha256, guide, self.photos, self.others, self.split, data.stat().st_size)
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Comparison:
    """Both networks' results on one data set, seed and kind of gallery.

    Attributes:
        data: Name of the data set.
        seed: Seed.
        gallery: "own 1", "own 5", "own all", "others 1" or "others 5".
        species: Species of the gallery.
        photos: Photos that are named.
        before: Accuracy of the start, percent.
        after: Accuracy of the result, percent.
        differences: After minus before for each photo, in points, the mean over the galleries.
        kept_start: True if the result is the start.
        cpu_seconds: Processor time of `hmdrn distill`.
    """

    data: str
    seed: int
    gallery: str
    species: int
    photos: int
    before: float
    after: float
    differences: Sequence[float]
    kept_start: bool
    cpu_seconds: float


def write_folder(photos: Sequence[Photo], rows: Rows, folder: Path) -> None:
    """Write those of the photos that are in a user's folder: a folder for each species."""
    for number, members in enumerate(rows):
        place = folder / f"species {number}"
        place.mkdir(parents=True)
        for row in members:
            (place / f"{row:05d}{Path(photos[row].name).suffix}").write_bytes(photos[row].read())


def tune(photos: Path, options: Options, run: Path) -> float:
    """Run `hmdrn distill`; return its processor time in seconds.

    Raises:
        HmdrnError: It failed.
    """
    start = ("--init", options.start, *(() if options.guide is None else ("--guide", options.guide)))
    command = [sys.executable, "-m", "hmdrn", "distill", photos, "--recipe", options.recipe, *start]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*map(str, command), "--output", str(run)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HmdrnError(f"hmdrn distill ended with {done.returncode}: {done.stderr[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(
    data: str,
    classes: Mapping[str, Sequence[Photo]],
    open_start: Callable[[], GramScorer],
    seed: int,
    options: Options,
) -> list[Comparison]:
    """Fine-tune on a folder of a data set's photos, and compare the result with the scorer of its start."""
    split = split_photos([len(members) for members in classes.values()], options.photos, options.others, seed)
    photos = [photo for members in classes.values() for photo in members]
    with tempfile.TemporaryDirectory() as name:
        folder, run = Path(name) / "photos", Path(name) / "run"
        write_folder(photos, split.own, folder)
        seconds = tune(folder, options, run)
        after = open_scorer(load_checkpoint(run / RUN_CHECKPOINT).network, photos)
        same = History.from_dict(json.loads((run / HISTORY).read_text())).best_step == 0
    before = open_start()
    comparisons: list[Comparison] = []
    parts = [
        ("own", split.own, split.own_queries, True),
        ("others", split.others, split.other_queries, False),
    ]
    for kind, enrolled, queries, full in parts:
        if len(enrolled) < 2:
            continue
        afters = score(after, enrolled, queries, full)
        for shots, shares in score(before, enrolled, queries, full).items():
            gains = afters[shots] - shares
            comparisons.append(
                Comparison(
                    data,
                    seed,
                    f"{kind} {shots}",
                    len(enrolled),
                    len(shares),
                    100 * float(shares.mean()),
                    100 * float(afters[shots].mean()),
                    np.round(100 * gains, 3).tolist(),
                    same,
                    round(seconds, 1),
                )
            )
    return comparisons


def keep_comparisons(
    folder: Path | None, name: str, compute: Callable[[], list[Comparison]]
) -> list[Comparison]:
    """Return the comparisons in the file of a name in `folder`, computed and written if it is missing."""
    file = None if folder is None else folder / f"{name}.json"
    if file is not None and file.exists():
        return [Comparison(**values) for values in json.loads(file.read_text())]
    comparisons = compute()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps([asdict(c) for c in comparisons]).encode())
    return comparisons


def summarize(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return the mean over the seeds of each data set and kind of gallery, JSON-ready.

    The interval of the difference is over the photos that were named, of all seeds.
    """
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault((comparison.data, comparison.gallery), []).append(comparison)
    results = []
    for (data, gallery), members in groups.items():
        difference, interval = mean_and_interval(np.concatenate([c.differences for c in members]))
        results.append(
            {
                "data": data,
                "gallery": gallery,
                "species": members[0].species,
                "photos": sum(c.photos for c in members),
                "before": float(np.mean([c.before for c in members])),
                "after": float(np.mean([c.after for c in members])),
                "difference": difference,
                "difference_ci95": interval,
                "by_seed": [c.after - c.before for c in members],
                "kept_start": sum(c.kept_start for c in members),
                "cpu_seconds": max(c.cpu_seconds for c in members),
            }
        )
    return results


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recipe", default="finetune", show_default=True, help="Recipe of `hmdrn distill`.")
@click.option("--init", default="default", show_default=True, help="Checkpoint to start from.")
@click.option("--guide", default="default", show_default=True, help="Checkpoint that guides; '' for none.")
@click.option("--photos", default=15, show_default=True, help="Photos of a species in the folder.")
@click.option("--others", default=5, show_default=True, help="Species that are not in the folder.")
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option("--seeds", default=3, show_default=True, help="Folders of each data set.")
@click.option("--folder", type=click.Path(path_type=Path), help="Folder that keeps results between runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    data: Sequence[Path],
    recipe: str,
    init: str,
    guide: str,
    photos: int,
    others: int,
    split: str,
    seeds: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Fine-tune on folders of each DATA's photos, and print the accuracy before and after."""
    leader = resolve_checkpoint(guide) if guide else None
    options = Options(recipe, resolve_checkpoint(init), leader, photos, others, split)
    comparisons: list[Comparison] = []
    for path in data:
        classes = open_dataset(path, split).classes
        files = [photo for members in classes.values() for photo in members]
        start = cache(partial(open_scorer, load_checkpoint(options.start).network, files))
        for seed in range(seeds):
            name = f"{path.stem}-{seed}-{options.digest(path)}"
            comparisons += keep_comparisons(
                folder, name, partial(compare, path.stem, classes, start, seed, options)
            )
    results = summarize(comparisons)
    if as_json:
        print_values("finetuning/1", {"recipe": recipe, "init": init, "results": results}, as_json)
        return
    rows = [
        [
            f"{r['data']}, {r['species']} species",
            r["gallery"],
            f"{r['before']:.1f}",
            f"{r['after']:.1f}",
            f"{r['difference']:+.2f} ± {r['difference_ci95']:.2f}",
            " ".join(f"{d:+.1f}" for d in r["by_seed"]),
            str(r["kept_start"]),
            f"{r['cpu_seconds']:.0f}",
        ]
        for r in results
    ]
    columns = ["data", "gallery", "before", "after", "difference", "by seed", "start kept", "CPU s"]
    print_table(f"{recipe} from {init}, {photos} photos of a species, {seeds} seeds", columns, rows)


if __name__ == "__main__":
    main()
