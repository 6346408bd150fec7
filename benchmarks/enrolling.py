"""Enrolling one photo into a gallery of thousands of species: the time beyond that of the network.

python -m benchmarks.enrolling DATA... --cache FOLDER [--species 10000] [--allow-busy] [--json]

The gallery holds species from the cache of `benchmarks.species`. The first photo of a new species is solved
and inserted; the fifth photo of a species is also checked: all five are compared with every species, and so
are five photos enrolled at once. On one thread; the network's time is that of its graphs `enroll` and
`solve`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import hmdrn
from benchmarks.common import BenchmarkRun, Result, Table, format_ms, main
from benchmarks.species_cache import SpeciesCache, cache_queries, fill_cache
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import ClassSum
from hmdrn_runtime.gallery.reverse_index import PhotoLabelIndex
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.recognizer import Recognizer

_TURNS = 40
_NAMES = ("first", "further", "together", "enroll", "enroll all", "solve")
"""What is timed."""
_SHOTS = 5


def measure(run: BenchmarkRun) -> Result:
    """Fill the cache and the gallery, then alternate enrollments and runs of the network alone."""
    options = run.arguments
    fill_cache(options.data, Path(options.cache), options.species)
    cache_queries(options.data, Path(options.cache), _TURNS * _SHOTS)
    photos = np.load(Path(options.cache) / "queries.npy", mmap_mode="r")[: _TURNS * _SHOTS]
    birds = _open_recognizer(SpeciesCache.open(Path(options.cache)), options.species)
    birds.classify(photos[0])  # solves all species
    matcher = birds.matcher
    assert isinstance(matcher, RidgeMatcher)
    seconds: dict[str, list[float]] = {name: [] for name in _NAMES}
    for turn in range(_TURNS):
        label = f"new {turn}"
        first, *more = (np.array(photo) for photo in photos[turn * _SHOTS : (turn + 1) * _SHOTS])
        seconds["enroll"].append(_time(matcher.compute_statistics, first[None]))
        seconds["first"].append(_time(birds.enroll, label, first))
        seconds["solve"].append(_time(matcher.operators, [birds.gallery.species[label]]))
        birds.enroll(label, more[:-1])
        seconds["further"].append(_time(birds.enroll, label, more[-1]))
        birds.forget(label)
        seconds["enroll all"].append(_time(matcher.compute_statistics, np.stack([first, *more])))
        seconds["together"].append(_time(birds.enroll, label, [first, *more]))
        run.load_monitor.check()
    seconds["register"] = [_time(PhotoLabelIndex().update, birds.gallery.species)]
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    kinds = (
        ("the first of a species", "first", "enroll"),
        (f"the {_SHOTS}th of a species", "further", "enroll"),
        (f"{_SHOTS} of a species at once", "together", "enroll all"),
    )
    rows = [
        [
            what,
            format_ms(medians[name]),
            format_ms(medians[network]),
            format_ms(medians["solve"]),
            format_ms(medians[name] - medians[network] - medians["solve"]),
        ]
        for what, name, network in kinds
    ]
    columns = ("photo", "enrolling it", "graph enroll", "graph solve", "beyond")
    return Result(
        {"species": options.species, "turns": _TURNS, "seconds": medians},
        [
            Table(
                f"One photo into a gallery of {options.species:,} species; once after a start "
                f"{format_ms(medians['register'])} more, for the index of photos",
                columns,
                rows,
            )
        ],
    )


def _open_recognizer(stored: SpeciesCache, count: int) -> Recognizer:
    empty = hmdrn.load(threads=1)
    sums, shots = stored.sums(0, count), stored.shots(count)
    species = {}
    for i in range(count):
        label = f"species {i:06}"
        # Invented digests: they only have to be as many as the photos, and distinct.
        digests = tuple(f"{i:060x}{k:04x}" for k in range(shots[i]))
        class_sum = ClassSum(digests, empty.bundle.variant, sums[i])
        species[label] = Species(label, MappingProxyType({}), (class_sum,))
    return Recognizer(empty.bundle, empty.backend, Gallery(empty.gallery.network, species))


def _time(function: Callable[..., object], *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="folders or zips of <split>/<class>/<image>")
    parser.add_argument("--cache", required=True, help="folder that keeps enrolled species between runs")
    parser.add_argument("--species", type=int, default=10_000, help="species of the gallery")


if __name__ == "__main__":
    sys.exit(main("enrolling/1", __doc__, measure, _add_options))
