"""False accepts of calibrated galleries beside the rate asked for, on species that they do not know.

Galleries are drawn from each data set, whose other species are unknown to them, and from all of them together
("all").

    python -m benchmarks.open_set BUNDLE DATA... --galleries 100 --cache FOLDER
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.fast_matcher import FastMatcher
from benchmarks.statistics_cache import cache_option, load_statistics
from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import require_background
from hmdrn_calibration.open_set.background_fit import Group, simulate_galleries
from hmdrn_calibration.open_set.metrics import auroc
from hmdrn_calibration.open_set.threshold_fit import compute_threshold, select_impostors
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background

RATES = (0.01, 0.05, 0.2)
SHOTS = (1, 5)
WAYS = (5, 20)
MOST = 40
"""Photos of a species that are used."""


def measure(
    matcher: RidgeMatcher, group: Group, background: Background, way: int, shots: int, galleries: int
) -> dict[str, float]:
    """Return mean AUROC, and for each rate the shares of unknown and known photos that pass, in percent."""
    statistics = select_impostors(background.impostors, shots)
    rows: list[list[float]] = []
    for gallery in simulate_galleries(
        matcher,
        group,
        background.operators,
        way=way,
        shots=shots,
        count=galleries,
        rng=np.random.default_rng(0),
    ):
        row = [auroc(gallery.known, gallery.unknown)]
        for rate in RATES:
            threshold = compute_threshold(statistics, gallery.species, gallery.rivals, rate)
            row += [float((scores >= threshold).mean()) for scores in (gallery.unknown, gallery.known)]
        rows.append(row)
    names = ["auroc", *(f"{what}_{rate}" for rate in RATES for what in ("false", "known"))]
    return dict(zip(names, (100 * np.mean(rows, axis=0)).tolist(), strict=True))


def measure_all(
    matcher: RidgeMatcher, groups: Mapping[str, Group], background: Background, galleries: int
) -> list[dict[str, Any]]:
    """Measure each group and all together, for every number of species and photos that it has enough of."""
    together = {
        f"{name} {label}": photos for name, group in groups.items() for label, photos in group.items()
    }
    results: list[dict[str, Any]] = []
    for name, group in {**groups, "all": together}.items():
        for shots in SHOTS:
            members = {label: photos for label, photos in group.items() if len(photos) > shots}
            for way in WAYS:
                if way + 3 <= len(members):
                    values = measure(matcher, members, background, way, shots, galleries)
                    results.append({"data": name, "way": way, "shots": shots, **values})
    return results


def within_third(results: Sequence[Mapping[str, Any]]) -> float:
    """Return the percentage of rates that are between two thirds and four thirds of the one asked for."""
    ratios = [r[f"false_{rate}"] / (100 * rate) for r in results for rate in RATES]
    return 100 * float(np.mean([2 / 3 <= ratio <= 4 / 3 for ratio in ratios]))


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option("--galleries", default=100, show_default=True, help="Galleries of a cell.")
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    bundle: str, data: tuple[Path, ...], split: str, galleries: int, cache: Path | None, as_json: bool
) -> None:
    """Measure false accepts on each DATA and on all together."""
    recognizer = load(bundle, threads=1)
    background = require_background(recognizer)
    with progress() as report:
        groups = {path.name: load_statistics(recognizer, path, split, MOST, report, cache) for path in data}
        matcher, summed = FastMatcher.create(recognizer, groups)
        results = measure_all(matcher, summed, background, galleries)
    if as_json:
        click.echo(json.dumps({"bundle": bundle, "galleries": galleries, "results": results}))
        return
    names = [name for name in results[0] if name not in ("data", "way", "shots")]
    rows = [[str(r[k]) for k in ("data", "way", "shots")] + [f"{r[n]:.1f}" for n in names] for r in results]
    title = f"{bundle}: {within_third(results):.0f} % of the rates within a third of the one asked for"
    print_table(title, ["data", "way", "shots", *names], rows)


if __name__ == "__main__":
    main()
