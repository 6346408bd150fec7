"""One photo against galleries of 5 to 100,000 species: time, memory and exactness of the best five.

python -m benchmarks.species DATA... --sizes 5,1000,10000 --cache FOLDER [--queries 500] [--json]

Every species is enrolled from its own 1 to 5 augmented train photos; the queries are val photos, augmented
where there are fewer than --queries. Both stay in the cache (83 KB per species; 100,000 species take hours).
Each size is measured in its own process, in turns with the smallest one, on one thread. Timed from the
photo's pixels to the ranking, without preprocessing.
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
from benchmarks.common import BenchmarkRun, Result, Table, format_ms, main
from benchmarks.species_cache import SpeciesCache, cache_queries, fill_cache
from hmdrn_runtime.classification.prediction import rank_species
from hmdrn_runtime.matching.base import IndexedOperands
from hmdrn_runtime.matching.index.index import Index, IndexView, SearchResult
from hmdrn_runtime.matching.ridge import MIN_INDEXED
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.timing import TimingPlan, time_interleaved

_TOP = 5
_PART = 1024
_AT_ONCE = 32
_TIMED = 500
"""Photos to time, in turns."""


@dataclass(frozen=True, eq=False)
class SearchSummary:
    """Summary of a search; keeping all its logits for every photo would count as the search's memory.

    Attributes:
        best: Indices of the best species, best first.
        probability: Probability of the first one.
        exact_share: Share of the species that were computed in full.
    """

    best: np.ndarray
    probability: float
    exact_share: float

    @classmethod
    def of(cls, result: SearchResult) -> SearchSummary:
        """Summarize a search."""
        first = result.logits[result.best[0]]
        return cls(result.best, float(1 / np.exp(result.logits - first).sum()), float(result.exact.mean()))


def measure(run: BenchmarkRun) -> Result:
    """Fill the cache, then measure each size in its own process."""
    options = run.arguments
    sizes = sorted({int(size) for size in options.sizes.split(",")})
    fill_cache(options.data, Path(options.cache), max(sizes))
    cache_queries(options.data, Path(options.cache), options.queries)
    results = []
    for size in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results.append(
                pool.apply(_measure_size, (size, sizes[0], Path(options.cache), options.queries, run.plan))
            )
        run.load_monitor.check()
    rows = [
        [
            f"{result['species']:,}",
            format_ms(result["seconds"]),
            f"{result['ratio']:.2f}",
            f"{result['exact_share']:.2%}",
            f"{result['wrong_top5']} of {result['queries']}",
            f"{result['largest_error']:.1g}",
            f"{result['peak_mib']:.0f} MiB",
        ]
        for result in results
    ]
    columns = ("species", "one photo", "ratio", "in full", "wrong top 5", "probability off", "peak memory")
    return Result({"sizes": results}, [Table("Species of a gallery", columns, rows)])


def _measure_size(size: int, smallest: int, cache: Path, count: int, plan: TimingPlan) -> dict[str, Any]:
    birds = hmdrn.load(threads=1)
    matcher = birds.matcher
    stored = SpeciesCache.open(cache)
    # Labels as in a gallery: the time of forming a prediction is part of the measurement.
    labels = [f"species {i:06}" for i in range(size)]
    calls: dict[str, Any] = {}
    few = matcher.place({"operator": stored.operators(0, smallest)})
    operands = few if size < MIN_INDEXED else IndexedOperands(_index(birds.gallery.network, stored, size))
    timed = _photos(cache, 0, min(count, _TIMED))
    turn = iter(range(sys.maxsize))

    def call(operands: Any, names: list[str]) -> Any:
        photo = timed[next(turn) % len(timed)][None]
        return rank_species(names, matcher.classify(photo, operands, _TOP), _TOP)

    calls["few"] = lambda: call(few, labels[:smallest])
    calls["many"] = lambda: call(operands, labels)
    times = time_interleaved(calls, plan)
    facts: Mapping[str, Any] = {"exact_share": 1.0, "wrong_top5": 0, "largest_error": 0.0}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if isinstance(operands, IndexedOperands):

        def grams() -> Iterator[np.ndarray]:
            for i in range(0, count, _AT_ONCE):
                images = _photos(cache, i, min(i + _AT_ONCE, count))
                yield birds.backend.run("encode", {"images": images})["query_gram"]

        # In parts: the Gram matrices of thousands of photos would count as the search's memory.
        answers = [SearchSummary.of(operands.classes.search(gram, _TOP)) for part in grams() for gram in part]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        plain = operands.classes.index.folding.plain
        facts = _compare_with_exact(answers, plain, stored, np.concatenate(list(grams())), size)
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
    # A new mapping for each read: pages of a lasting one would count as the search's memory.
    return np.array(np.load(cache / "queries.npy", mmap_mode="r")[start:end])


def _index(network: Any, stored: SpeciesCache, size: int) -> IndexView:
    index = Index(network)
    for start in range(0, size, _PART):
        index.add(stored.operators(start, min(start + _PART, size)))
    return index.classes(np.arange(size))


def _compare_with_exact(
    answers: Sequence[SearchSummary], weights: np.ndarray, stored: SpeciesCache, grams: np.ndarray, size: int
) -> dict[str, Any]:
    """Compare with the float64 product of the same operators and Gram matrices, in parts of the species."""
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
        best, places = (np.take_along_axis(values, order, axis=1) for values in (best, places))
    wrong = sum(not np.array_equal(a.best, p) for a, p in zip(answers, places, strict=True))
    probabilities = np.array([a.probability for a in answers])
    return {
        "exact_share": float(np.mean([a.exact_share for a in answers])),
        "wrong_top5": int(wrong),
        "largest_error": float(np.abs(probabilities - np.exp(best[:, 0]) / sums).max()),
        "mean_error": float(np.abs(probabilities - np.exp(best[:, 0]) / sums).mean()),
    }


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="folders or zips of <split>/<class>/<image>")
    parser.add_argument("--sizes", default="5,1000,10000", help="numbers of species, the smallest first")
    parser.add_argument("--cache", required=True, help="folder that keeps enrolled species between runs")
    parser.add_argument("--queries", type=int, default=500, help="photos whose best species are checked")


if __name__ == "__main__":
    raise SystemExit(main("species/1", __doc__, measure, _add_options))
