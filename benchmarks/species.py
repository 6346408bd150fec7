"""One photo against galleries of 5 to 100,000 species: time, memory, and whether the best are the exact ones.

python -m benchmarks.species DATA... --sizes 5,1000,10000 --cache FOLDER [--queries 500] [--json]

Every species is enrolled from its own 1 to 5 augmented train photographs; the queries are val photographs,
augmented where there are fewer than asked for. Both are kept in the cache (16.6 KB a species, and as much
again while it is filled: 100,000 species take an hour). Each size is measured in a process of its own, in
turns with the smallest one, on one thread. From the photo's pixels to the ranking; preprocessing is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hmdrn
from benchmarks.common import Bench, Result, Table, main, ms
from benchmarks.species_cache import Species, fill, queries
from hmdrn_runtime.matching.base import Indexed
from hmdrn_runtime.matching.index.index import Classes, Found, Index
from hmdrn_runtime.matching.index.projection import SAMPLE, fit_basis
from hmdrn_runtime.matching.index.species_index import PRUNED
from hmdrn_runtime.matching.ridge import OUTSIDE
from hmdrn_runtime.prediction import predictions
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.timing import Plan, in_turns

_TOP = 5
_PART = 1024
_AT_ONCE = 32
_TIMED = 500
"""Photos that are timed, in turns."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What is kept of a search: all its logits, of every photo, would count as the search's memory."""

    best: np.ndarray
    probability: float
    exact_share: float

    @classmethod
    def of(cls, found: Found) -> Answer:
        """The best species, the first one's probability, and the share of species computed in full."""
        first = found.logits[found.best[0]]
        return cls(found.best, float(1 / np.exp(found.logits - first).sum()), float(found.exact.mean()))


def measure(bench: Bench) -> Result:
    """Fill the cache, then measure each size in a process of its own."""
    given = bench.arguments
    sizes = sorted({int(size) for size in given.sizes.split(",")})
    fill(given.data, Path(given.cache), max(sizes))
    queries(given.data, Path(given.cache), given.queries)
    found = []
    for size in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found.append(
                pool.apply(_measure_size, (size, sizes[0], Path(given.cache), given.queries, bench.plan))
            )
        bench.quiet.look()
    rows = [
        [
            f"{one['species']:,}",
            ms(one["seconds"]),
            f"{one['ratio']:.2f}",
            f"{one['exact_share']:.2%}",
            f"{one['wrong_top5']} of {one['queries']}",
            f"{one['largest_error']:.1g}",
            f"{one['peak_mib']:.0f} MiB",
        ]
        for one in found
    ]
    columns = ("species", "one photo", "ratio", "in full", "wrong top 5", "probability off", "peak memory")
    return Result({"sizes": found}, [Table("Species of a gallery", columns, rows)])


def _measure_size(size: int, smallest: int, cache: Path, count: int, plan: Plan) -> dict[str, Any]:
    birds = hmdrn.load(threads=1)
    matcher = birds.matcher
    stored = Species.open(cache)
    # Names as a gallery has them: a prediction's time is part of what is measured.
    labels = [f"species {i:06}" for i in range(size)]
    calls: dict[str, Any] = {}
    few = matcher.place({"operator": stored.operators(0, smallest)})
    operands = few if size < OUTSIDE else Indexed(_index(birds.gallery.network, stored, size))
    timed = _photos(cache, 0, min(count, _TIMED))
    turn = iter(range(sys.maxsize))

    def call(operands: Any, names: list[str]) -> Any:
        photo = timed[next(turn) % len(timed)][None]
        return predictions(names, matcher.classify(photo, operands, _TOP), _TOP)

    calls["few"] = lambda: call(few, labels[:smallest])
    calls["many"] = lambda: call(operands, labels)
    times = in_turns(calls, plan)
    facts: Mapping[str, Any] = {"exact_share": 1.0, "wrong_top5": 0, "largest_error": 0.0}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if isinstance(operands, Indexed):

        def grams() -> Iterator[np.ndarray]:
            for i in range(0, count, _AT_ONCE):
                images = _photos(cache, i, min(i + _AT_ONCE, count))
                yield birds.backend.run("encode", {"images": images})["query_gram"]

        # Part by part: all Gram matrices of thousands of photos would count as the search's memory.
        answers = [Answer.of(operands.classes.search(gram, _TOP)) for part in grams() for gram in part]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        plain = operands.classes.index.folding.plain
        facts = _compared(answers, plain, stored, np.concatenate(list(grams())), size)
    ratio = ratio_of_medians(times["many"], times["few"])
    return {
        "species": size,
        "seconds": float(np.median(times["many"])),
        "ratio": ratio.value,
        "queries": count,
        "peak_mib": peak,
        **facts,
    }


def _photos(cache: Path, start: int, end: int) -> np.ndarray:
    # Mapped for this once: pages of a mapping that stays would count as the search's memory.
    return np.array(np.load(cache / "queries.npy", mmap_mode="r")[start:end])


def _index(network: Any, stored: Species, size: int) -> Classes:
    basis = None
    if size >= PRUNED:
        folding = Index(network).folding
        chosen = min(SAMPLE, size)
        grams = stored.mean_grams(chosen) * folding.gram
        basis = fit_basis(stored.operators(0, chosen) * folding.operator, grams.astype(np.float32))
    index = Index(network, basis)
    for start in range(0, size, _PART):
        index.add(stored.operators(start, min(start + _PART, size)))
    return index.classes(np.arange(size))


def _compared(
    answers: Sequence[Answer], weights: np.ndarray, stored: Species, grams: np.ndarray, size: int
) -> dict[str, Any]:
    """Against the float64 product of the same operators and Gram matrices, species in parts."""
    folded = grams.astype(np.float64) * weights
    best = np.zeros((len(grams), 0))
    places = np.zeros((len(grams), 0), int)
    sums = np.zeros(len(grams))
    for start in range(0, size, _PART):
        logits = folded @ stored.operators(start, min(start + _PART, size)).astype(np.float64).T
        sums += np.exp(logits).sum(axis=1)
        best = np.concatenate([best, logits], axis=1)
        places = np.concatenate(
            [places, np.tile(np.arange(logits.shape[1]) + start, (len(grams), 1))], axis=1
        )
        order = np.argsort(-best, axis=1, kind="stable")[:, :_TOP]
        best, places = (np.take_along_axis(of, order, axis=1) for of in (best, places))
    wrong = sum(not np.array_equal(a.best, p) for a, p in zip(answers, places, strict=True))
    mine = np.array([a.probability for a in answers])
    return {
        "exact_share": float(np.mean([a.exact_share for a in answers])),
        "wrong_top5": int(wrong),
        "largest_error": float(np.abs(mine - np.exp(best[:, 0]) / sums).max()),
        "mean_error": float(np.abs(mine - np.exp(best[:, 0]) / sums).mean()),
    }


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="folders or zips of <split>/<class>/<image>")
    parser.add_argument("--sizes", default="5,1000,10000", help="numbers of species, the smallest first")
    parser.add_argument("--cache", required=True, help="folder for species that were enrolled before")
    parser.add_argument("--queries", type=int, default=500, help="photos whose best species are checked")


if __name__ == "__main__":
    raise SystemExit(main("species/1", __doc__, measure, _options))
