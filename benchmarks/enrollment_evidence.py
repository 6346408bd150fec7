"""Trust in an enrollment's report: its verdicts, and its forecast.

For each data set it draws galleries and counts, over the photos of clean galleries, those that are called
probably wrong or to be checked; with one photo of another species of the gallery planted in each gallery,
how often it is found; and the error of the forecasts of accuracy and of the share known (at a false-accept
rate of `FAR`) against the truth on the species' remaining photos, for diverse photos and for bursts (each
species from the frames of one simulated film). These photos are a sample too: "truth" is the mean error that
a faultless forecast would have, from the difference of their halves.

    python -m benchmarks.enrollment_evidence BUNDLE DATA... --galleries 200 --cache FOLDER
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.bursts import film
from benchmarks.fast_matcher import FastMatcher
from benchmarks.statistics_cache import Photos, cache_option, keep_statistics, load_statistics
from hmdrn.cli.output import print_table, progress
from hmdrn.loading import load
from hmdrn.open_set import require_background
from hmdrn_calibration.open_set.threshold_fit import fit_calibration
from hmdrn_runtime.datasets.dataset import Dataset, open_dataset
from hmdrn_runtime.enrollment.evidence import PROBABLY_WRONG, compare_species
from hmdrn_runtime.enrollment.forecast import Estimate, forecast_gallery
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species, extend_species
from hmdrn_runtime.images.quality import prepare_photo
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, known_scores
from hmdrn_runtime.recognizer import Recognizer

SHOTS, WAYS, FILMS = 5, (5, 8), 8
"""Photos of a species, species of a gallery, and films of a species."""
FAR = 0.05
"""False-accept rate of the galleries."""


@dataclass
class Counts:
    """Results over the galleries of one number of species.

    Attributes:
        photos: Photos of clean galleries.
        wrong: Those that are called probably wrong.
        check: Those that are to be checked.
        planted: Planted photos.
        found: Those that are called probably wrong.
        noticed: Those that are called probably wrong or to be checked.
        errors: Forecast less truth, in points, by kind of gallery.
        covered: True for each forecast whose interval holds the truth, by kind of gallery.
        halves: Difference of the truths on the two halves of the photos, in points, by kind of gallery.
    """

    photos: int = 0
    wrong: int = 0
    check: int = 0
    planted: int = 0
    found: int = 0
    noticed: int = 0
    errors: dict[str, list[float]] = field(default_factory=dict)
    covered: dict[str, list[bool]] = field(default_factory=dict)
    halves: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, estimate: Estimate, outcomes: Sequence[npt.NDArray[np.bool_]]) -> None:
        """Count one forecast of a share; the outcomes are those of each species' photos, in random order."""
        truth, *halves = (
            float(np.mean([part[first::step].mean() for part in outcomes]))
            for first, step in ((0, 1), (0, 2), (1, 2))
        )
        self.halves.setdefault(kind, []).append(100 * (halves[0] - halves[1]))
        self.errors.setdefault(kind, []).append(100 * (estimate.share - truth))
        self.covered.setdefault(kind, []).append(estimate.low <= truth <= estimate.high)

    def to_dict(self) -> dict[str, float]:
        """Return shares in percent, and errors in points; JSON-ready."""
        values = {
            "probably_wrong": 100 * self.wrong / self.photos,
            "please_check": 100 * self.check / self.photos,
            "planted_found": 100 * self.found / self.planted,
            "planted_noticed": 100 * self.noticed / self.planted,
        }
        for kind, errors in self.errors.items():
            values |= {
                f"{kind}_error": float(np.abs(errors).mean()),
                f"{kind}_bias": float(np.mean(errors)),
                f"{kind}_covered": 100 * float(np.mean(self.covered[kind])),
                # The halves are independent: half their difference varies as half their sum, the truth.
                f"{kind}_truth": float(np.abs(self.halves[kind]).mean()) / 2,
            }
        return values


def add_forecasts(
    counts: Counts,
    kind: str,
    matcher: RidgeMatcher,
    gallery: Mapping[str, Species],
    queries: Photos,
    background: Background,
) -> None:
    """Forecast a calibrated gallery's results, and count the errors against the queries' results.

    All species count alike in the truth.
    """
    threshold = fit_calibration(matcher, gallery, background, FAR).threshold
    forecast = forecast_gallery(matcher, gallery, background, threshold)
    if forecast is None or forecast.known is None:
        return
    right, known = [], []
    for column, label in enumerate(gallery):
        if len(queries[label]) > 1:
            logits = matcher.compare(queries[label], {}, list(gallery.values()))
            scores = known_scores(logits, matcher.match(queries[label], background.operators).logits)
            right.append(logits.argmax(axis=1) == column)
            known.append(scores >= threshold)
    counts.add(kind, forecast.accuracy, right)
    counts.add(f"{kind}_known", forecast.known, known)


def measure(
    matcher: FastMatcher,
    photos: Photos,
    films: Photos,
    background: Background,
    way: int,
    galleries: int,
    rng: np.random.Generator,
) -> Counts:
    """Draw galleries of `way` species, and count; `films` has `SHOTS` frames of each film, in order."""
    counts = Counts()
    labels = [label for label, members in sorted(photos.items()) if len(members) > SHOTS]
    for _ in range(galleries):
        drawn = {
            str(label): [photos[label][i] for i in rng.permutation(len(photos[label]))]
            for label in rng.choice(labels, way, replace=False)
        }
        gallery = {label: extend_species(None, label, members[:SHOTS]) for label, members in drawn.items()}
        rest = {label: members[SHOTS:] for label, members in drawn.items()}
        for label in gallery:
            values = compare_species(matcher, gallery, label, {}).values
            counts.photos += SHOTS
            counts.wrong += int((values < PROBABLY_WRONG).sum())
            counts.check += int(((values >= PROBABLY_WRONG) & (values < 0)).sum())
        add_forecasts(counts, "diverse", matcher, gallery, rest, background)
        victim, source = rng.permutation(way)[:2]
        label = list(drawn)[victim]
        planted = list(drawn.values())[source][SHOTS]
        wrong = {
            **gallery,
            label: extend_species(None, label, [*[*gallery[label].photos.values()][1:], planted]),
        }
        evidence = compare_species(matcher, wrong, label, {})
        value = dict(zip(evidence.digests, evidence.values.tolist(), strict=True)).get(planted.digest, 0.0)
        counts.planted += 1
        counts.found += value < PROBABLY_WRONG
        counts.noticed += value < 0
        starts = {label: SHOTS * int(rng.integers(len(films[label]) // SHOTS)) for label in drawn}
        burst = {
            label: extend_species(None, label, films[label][start : start + SHOTS])
            for label, start in starts.items()
        }
        # The first frame of a film is a photo itself.
        first = {label: films[label][start].digest for label, start in starts.items()}
        queries = {
            label: [photo for photo in members if photo.digest != first[label]]
            for label, members in drawn.items()
        }
        add_forecasts(counts, "bursts", matcher, burst, queries, background)
    return counts


def film_species(recognizer: Recognizer, dataset: Dataset, seed: int) -> Photos:
    """Return the statistics of `FILMS` simulated films of each species."""
    rng = np.random.default_rng(seed)
    statistics: dict[str, list[PhotoStatistics]] = {}
    for label, photos in dataset.classes.items():
        frames: list[npt.NDArray[np.uint8]] = []
        for i in rng.permutation(len(photos))[:FILMS]:
            frames += [
                prepare_photo(frame, recognizer.preprocessing).pixels
                for frame in film(photos[i].load(), SHOTS, rng)
            ]
        statistics[label] = recognizer.matcher.compute_statistics(np.stack(frames))
    return statistics


@click.command()
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Split of the data.")
@click.option("--galleries", default=200, show_default=True, help="Galleries of a data set and way.")
@click.option("--seed", default=0, show_default=True)
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    bundle: str,
    data: tuple[Path, ...],
    split: str,
    galleries: int,
    seed: int,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Measure verdicts and forecasts on each DATA."""
    recognizer = load(bundle, threads=1)
    background = require_background(recognizer)
    results: list[dict[str, Any]] = []
    with progress() as report:
        for path in data:
            groups = {
                "photos": load_statistics(recognizer, path, split, None, report, cache),
                "films": keep_statistics(
                    recognizer,
                    cache,
                    f"{path.stem}-{split}-films-{seed}",
                    lambda path=path: film_species(recognizer, open_dataset(path, split), seed),  # type: ignore[misc]
                ),
            }
            matcher, parts = FastMatcher.create(recognizer, groups)
            rng = np.random.default_rng(seed)
            for way in WAYS:
                if way <= sum(len(members) > SHOTS for members in parts["photos"].values()):
                    counts = measure(
                        matcher, parts["photos"], parts["films"], background, way, galleries, rng
                    )
                    results.append({"data": path.name, "way": way, **counts.to_dict()})
    if as_json:
        click.echo(json.dumps({"bundle": bundle, "split": split, "galleries": galleries, "results": results}))
        return
    names = [
        name for name in results[0] if name.endswith(("wrong", "check", "found", "noticed", "error", "truth"))
    ]
    rows = [[str(r["data"]), str(r["way"]), *(f"{r[name]:.1f}" for name in names)] for r in results]
    print_table(f"{bundle} ({split}, {galleries} galleries)", ["data", "way", *names], rows)


if __name__ == "__main__":
    main()
