"""Enrolling one photo into a gallery of thousands of species: what it takes beyond the network's own time.

python -m benchmarks.enrolling DATA... --cache FOLDER [--species 10000] [--allow-busy] [--json]

The gallery is of the species that `benchmarks.species` keeps in its cache. The first photo of a new species
is solved and placed among the others; a further photo of a species that has three is also examined: all four
are compared with every species. On one thread; the network's time is that of its graphs `enroll` and `solve`.
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
from benchmarks.common import Bench, Result, Table, main, ms
from benchmarks.species_cache import Species as Stored
from benchmarks.species_cache import fill, queries
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import ClassSum
from hmdrn_runtime.gallery.reverse_index import Register
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.recognizer import Recognizer

_TURNS = 40
_SHOTS = 4


def measure(bench: Bench) -> Result:
    """Fill the cache and the gallery, then enroll in turns with the network alone."""
    given = bench.arguments
    fill(given.data, Path(given.cache), given.species)
    queries(given.data, Path(given.cache), _TURNS * _SHOTS)
    photos = np.load(Path(given.cache) / "queries.npy", mmap_mode="r")[: _TURNS * _SHOTS]
    birds = _recognizer(Stored.open(Path(given.cache)), given.species)
    birds.classify(photos[0])  # solves them all
    matcher = birds.matcher
    assert isinstance(matcher, RidgeMatcher)
    taken: dict[str, list[float]] = {name: [] for name in ("first", "further", "enroll", "solve")}
    for turn in range(_TURNS):
        label = f"new {turn}"
        first, *more = (np.array(photo) for photo in photos[turn * _SHOTS : (turn + 1) * _SHOTS])
        taken["enroll"].append(_seconds(matcher.photo_statistics, first[None]))
        taken["first"].append(_seconds(birds.enroll, label, first))
        taken["solve"].append(_seconds(matcher.operators, [birds.gallery.species[label]]))
        birds.enroll(label, more[:-1])
        taken["further"].append(_seconds(birds.enroll, label, more[-1]))
        bench.quiet.look()
    taken["register"] = [_seconds(Register().follow, birds.gallery.species)]
    found = {name: float(np.median(seconds)) for name, seconds in taken.items()}
    network = found["enroll"] + found["solve"]
    rows = [
        [what, ms(found[name]), ms(found["enroll"]), ms(found["solve"]), ms(found[name] - network)]
        for what, name in (("the first of a species", "first"), (f"the {_SHOTS}th of a species", "further"))
    ]
    columns = ("photo", "enrolling it", "graph enroll", "graph solve", "beyond")
    return Result(
        {"species": given.species, "turns": _TURNS, "seconds": found},
        [
            Table(
                f"One photo into a gallery of {given.species:,} species; once after a start "
                f"{ms(found['register'])} more, for the register of photos",
                columns,
                rows,
            )
        ],
    )


def _recognizer(stored: Stored, count: int) -> Recognizer:
    opened = hmdrn.load(threads=1)
    sums, shots = stored.sums(0, count), stored.shots(count)
    species = {}
    for i in range(count):
        label = f"species {i:06}"
        # Photos of nothing: the digests only have to be as many, and all different.
        digests = tuple(f"{i:060x}{k:04x}" for k in range(shots[i]))
        kept = ClassSum(digests, opened.bundle.variant, sums[i])
        species[label] = Species(label, MappingProxyType({}), (kept,))
    return Recognizer(opened.bundle, opened.backend, Gallery(opened.gallery.network, species))


def _seconds(work: Callable[..., object], *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="folders or zips of <split>/<class>/<image>")
    parser.add_argument("--cache", required=True, help="folder for species that were enrolled before")
    parser.add_argument("--species", type=int, default=10_000, help="species of the gallery")


if __name__ == "__main__":
    sys.exit(main("enrolling/1", __doc__, measure, _options))
