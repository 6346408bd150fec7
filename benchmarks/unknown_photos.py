"""False accepts of galleries that are calibrated with photos of unknown species from their own place.

Of each gallery's unknown photos some are given to the calibration, as by `hmdrn gallery calibrate --unknown`.
Others judge it: of the same species, which come again before a camera, or of species that were not given.

    python -m benchmarks.unknown_photos BUNDLE DATA... --photos 30,100,300 --cache FOLDER
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.fast_matcher import FastMatcher
from benchmarks.open_set import MOST, RATES, Floats, count_holding, holds, list_cells
from benchmarks.statistics_cache import cache_option, load_statistics
from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import require_background
from hmdrn_calibration.open_set.background_fit import SimulatedGallery, simulate_galleries
from hmdrn_calibration.open_set.threshold_fit import SPREAD_FLOOR, compute_threshold, select_impostors
from hmdrn_runtime.open_set.background import ImpostorStatistics

JUDGED = ("same species", "other species")


def split_unknown(
    gallery: SimulatedGallery, judged: str, photos: int, rng: np.random.Generator
) -> tuple[Floats, Floats] | None:
    """Return scores of photos that are given, and of those that judge; None if there are too few to give."""
    scores, species = gallery.unknown, gallery.unknown_species
    if judged == "same species":
        order = rng.permutation(len(scores))
        given, rest = order[: len(order) // 2], order[len(order) // 2 :]
    else:
        labels = rng.permutation(np.unique(species))
        first = np.isin(species, labels[: len(labels) // 2])
        given, rest = rng.permutation(np.flatnonzero(first)), np.flatnonzero(~first)
    return (scores[given[:photos]], scores[rest]) if len(given) >= photos else None


def judge(
    gallery: SimulatedGallery, statistics: ImpostorStatistics, given: Floats, unknown: Floats
) -> Iterator[tuple[float, float]]:
    """Yield the shares of unknown and of known photos that pass, at each rate."""
    rivals = gallery.rivals
    spreads = tuple((given - rivals.mean) / (rivals.spread + SPREAD_FLOOR))
    for rate in RATES:
        threshold = compute_threshold(statistics, gallery.species, rivals, rate, spreads)
        yield float((unknown >= threshold).mean()), float((gallery.known >= threshold).mean())


def measure(
    galleries: Sequence[SimulatedGallery], statistics: ImpostorStatistics, judged: str, photos: int
) -> dict[str, float] | None:
    """Return mean shares of unknown and known photos that pass, in percent; None with too few photos."""
    rng = np.random.default_rng(1)
    rows = []
    for gallery in galleries:
        split = split_unknown(gallery, judged, photos, rng)
        if split is None:
            return None
        rows.append([share for pair in judge(gallery, statistics, *split) for share in pair])
    names = [f"{what}_{rate}" for rate in RATES for what in ("false", "known")]
    return dict(zip(names, (100 * np.mean(rows, axis=0)).tolist(), strict=True))


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option("--galleries", default=50, show_default=True, help="Galleries of a cell.")
@click.option("--photos", default="0,30,100,300", show_default=True, help="Numbers of photos that are given.")
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    bundle: str,
    data: tuple[Path, ...],
    split: str,
    galleries: int,
    photos: str,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Measure false accepts on each DATA and on all together."""
    recognizer = load(bundle, threads=1)
    background = require_background(recognizer)
    counts = [int(count) for count in photos.split(",")]
    results: list[dict[str, Any]] = []
    with progress() as report:
        groups = {path.name: load_statistics(recognizer, path, split, MOST, report, cache) for path in data}
        matcher, summed = FastMatcher.create(recognizer, groups)
        for name, members, way, shots in list_cells(summed):
            statistics = select_impostors(background.impostors, shots)
            drawn = list(
                simulate_galleries(
                    matcher,
                    members,
                    background.operators,
                    way=way,
                    shots=shots,
                    count=galleries,
                    rng=np.random.default_rng(0),
                    queries=MOST,
                )
            )
            for judged in JUDGED:
                for count in counts:
                    values = measure(drawn, statistics, judged, count)
                    if values is not None:
                        cell = {"data": name, "way": way, "shots": shots, "judged": judged, "photos": count}
                        results.append({**cell, **values})
    if as_json:
        click.echo(json.dumps({"bundle": bundle, "galleries": galleries, "results": results}))
        return
    rows = []
    for judged, count in itertools.product(JUDGED, counts):
        cells = [r for r in results if (r["judged"], r["photos"]) == (judged, count)]
        if cells:
            rows.append([judged, str(count), f"{count_holding(cells)} of {len(cells) * len(RATES)}"])
            for rate in RATES:
                number = sum(holds(r[f"false_{rate}"], rate) for r in cells)
                known = np.mean([r[f"known_{rate}"] for r in cells])
                rows[-1].append(f"{number} of {len(cells)}, known {known:.0f} %")
    columns = ["judged by", "photos given", "hold", *(f"at {100 * rate:g} %" for rate in RATES)]
    print_table(f"{bundle}: rates within a third", columns, rows)


if __name__ == "__main__":
    main()
