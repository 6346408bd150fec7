"""False accepts of calibrated galleries beside the rate asked for, on species that they do not know.

Galleries are drawn from each data set, whose other species are unknown to them, and from all of them together
("all"). A rate holds if the mean share that passes is within a third of it. "best" is one threshold for all
galleries of a cell, right for the unknown photos of the first half of them, measured on the second half: it
knows what no gallery can know.

    python -m benchmarks.open_set BUNDLE DATA... --galleries 100 --cache FOLDER
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.fast_matcher import FastMatcher
from benchmarks.statistics_cache import cache_option, load_statistics
from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import require_background
from hmdrn_calibration.open_set.background_fit import Group, simulate_galleries
from hmdrn_calibration.open_set.metrics import auroc
from hmdrn_calibration.open_set.threshold_fit import compute_threshold, select_impostors
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background

Floats = npt.NDArray[np.float64]

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
    rng = np.random.default_rng(0)
    drawn = list(
        simulate_galleries(
            matcher, group, background.operators, way=way, shots=shots, count=galleries, rng=rng
        )
    )
    values = {"auroc": 100 * float(np.mean([auroc(gallery.known, gallery.unknown) for gallery in drawn]))}
    first, second = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    for rate in RATES:
        thresholds = [compute_threshold(statistics, g.species, g.rivals, rate) for g in drawn]
        for name in ("unknown", "known"):
            shares = [
                100 * (getattr(gallery, name) >= threshold).mean()
                for gallery, threshold in zip(drawn, thresholds, strict=True)
            ]
            mean, interval = mean_and_interval(np.array(shares))
            short = "false" if name == "unknown" else "known"
            values |= {f"{short}_{rate}": mean, f"{short}_{rate}_ci95": interval}
        best = find_threshold([gallery.unknown for gallery in first], rate)
        values[f"best_{rate}"] = 100 * float(np.mean([(g.unknown >= best).mean() for g in second]))
    return values


def find_threshold(scores: Sequence[Floats], rate: float) -> float:
    """Return the threshold that a share `rate` of scores reaches, in the mean over galleries."""
    joined = np.concatenate(scores)
    weights = np.concatenate([np.full(len(part), 1 / len(part) / len(scores)) for part in scores])
    order = np.argsort(-joined)
    reached = np.cumsum(weights[order])
    return float(joined[order][min(int(np.searchsorted(reached, rate)), len(joined) - 1)])


def measure_all(
    matcher: RidgeMatcher, groups: Mapping[str, Group], background: Background, galleries: int
) -> list[dict[str, Any]]:
    """Measure each group and all together, for every number of species and photos that it has enough of."""
    results: list[dict[str, Any]] = []
    for name, members, way, shots in list_cells(groups):
        values = measure(matcher, members, background, way, shots, galleries)
        results.append({"data": name, "way": way, "shots": shots, **values})
    return results


def list_cells(groups: Mapping[str, Group]) -> Iterator[tuple[str, Group, int, int]]:
    """Yield name and species of each group, and of all together, with numbers of species and of photos."""
    together = {
        f"{name} {label}": photos for name, group in groups.items() for label, photos in group.items()
    }
    for name, group in {**groups, "all": together}.items():
        for shots in SHOTS:
            members = {label: photos for label, photos in group.items() if len(photos) > shots}
            for way in WAYS:
                if way + 3 <= len(members):
                    yield name, members, way, shots


def holds(share: float, rate: float) -> bool:
    """Return whether a share, in percent, is within a third of a rate, 0-1."""
    return 2 / 3 <= share / (100 * rate) <= 4 / 3


def count_holding(results: Sequence[Mapping[str, Any]], kind: str = "false") -> int:
    """Return the number of rates that hold."""
    return sum(holds(r[f"{kind}_{rate}"], rate) for r in results for rate in RATES)


def count_undecided(results: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of rates of which the interval crosses the border between holding and not."""
    return sum(
        any(abs(r[f"false_{rate}"] - 100 * rate * edge) < r[f"false_{rate}_ci95"] for edge in (2 / 3, 4 / 3))
        for r in results
        for rate in RATES
    )


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
    columns = [f"{what}_{rate}" for rate in RATES for what in ("false", "known")]
    rows = [
        [str(r[k]) for k in ("data", "way", "shots")]
        + [f"{r['auroc']:.1f}"]
        + [f"{r[name]:.1f} ± {r[f'{name}_ci95']:.1f}" for name in columns]
        for r in results
    ]
    title = (
        f"{bundle}: {count_holding(results)} of {len(results) * len(RATES)} rates within a third, "
        f"{count_undecided(results)} undecided; best {count_holding(results, 'best')}"
    )
    print_table(title, ["data", "way", "shots", "auroc", *columns], rows)


if __name__ == "__main__":
    main()
