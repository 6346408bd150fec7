"""Species in Qdrant against the full product: recall of the best, errors of the answers, speed.

python -m benchmarks.qdrant_recall DATA... --cache FOLDER [--species 1000] [--index] [--location URL] [--json]

Species and queries come from the cache of `benchmarks.species`: 1 to 5 augmented train photos of each
species, val photos as queries. The reference is the product in float64. In its local mode Qdrant compares in
full; give the URL of a server to test its index (the collection "hmdrn-benchmark" is created there, and
deleted). --index searches here with the index of Qdrant's own engine at a server's default settings (m 16,
ef_construct 100), for vectors without and with their mean.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np

import hmdrn
from benchmarks.common import BenchmarkRun, Result, Table, format_ms, main
from benchmarks.qdrant_index import measure_index_recall
from benchmarks.species_cache import SpeciesCache, cache_queries, fill_cache
from hmdrn.integrations.qdrant.recognizer import QdrantRecognizer
from hmdrn.integrations.qdrant.vectors import VectorForm
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery import species as gallery_species
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import ClassSum
from hmdrn_runtime.matching.index.index import Index
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.recognizer import Recognizer

_TOP = 5
_COLLECTION = "hmdrn-benchmark"


def measure(run: BenchmarkRun) -> Result:
    """Push a gallery, and query the engine and the recognizer."""
    options = run.arguments
    cache = Path(options.cache)
    fill_cache(options.data, cache, options.species)
    cache_queries(options.data, cache, options.queries)
    plain = hmdrn.load(backend="onnxruntime", threads=1)
    gallery = build_gallery(SpeciesCache.open(cache), plain.gallery.network, options.species)
    birds = Recognizer(plain.bundle, plain.backend, gallery)
    photos = list(np.load(cache / "queries.npy", mmap_mode="r")[: options.queries])
    engine = QdrantRecognizer(birds, options.location, _COLLECTION, options.candidates)
    start = time.perf_counter()
    engine.push()
    push_seconds = time.perf_counter() - start
    try:
        facts = compare_engine(engine, birds, photos)
        turn = iter(range(sys.maxsize))
        times = run.time_interleaved(
            {
                "engine": lambda: engine.classify(photos[next(turn) % len(photos)], top=_TOP),
                "recognizer": lambda: birds.classify(photos[next(turn) % len(photos)], top=_TOP),
            }
        )
    finally:
        engine.delete()
    ratio = ratio_of_medians(times["engine"], times["recognizer"])
    values = {
        "species": options.species,
        "candidates": options.candidates,
        "queries": len(photos),
        "location": options.location,
        "push_seconds": push_seconds,
        **facts,
        "seconds_per_photo": {name: float(np.median(seconds)) for name, seconds in times.items()},
        "ratio": ratio.value,
    }
    row = [
        f"{options.species:,}",
        str(options.candidates),
        f"{facts['recall_at_1']:.2%}",
        f"{facts['recall_at_5']:.2%}",
        f"{facts['largest_logit_error']:.1g}",
        f"{facts['median_probability_error']:.2%}",
        format_ms(values["seconds_per_photo"]["engine"]),
        format_ms(values["seconds_per_photo"]["recognizer"]),
        f"{push_seconds:.1f} s",
    ]
    tables = []
    if options.index:
        values["index"] = recalls = measure_index(birds, photos, options.candidates)
        rows = [[name, *(f"{share:.2%}" for share in shares.values())] for name, shares in recalls.items()]
        tables = [Table("recall of the engine's index", ("vectors", "recall@1", "recall@5"), rows)]
    columns = ("species", "candidates", "recall@1", "recall@5", "logit off", "probability off")
    columns = (*columns, "one photo", "without Qdrant", "push")
    return Result(
        values, [Table(f"Qdrant at {options.location}, {len(photos)} photos", columns, [row]), *tables]
    )


def build_gallery(stored: SpeciesCache, network: Network, count: int) -> Gallery:
    """Return a gallery of the first species of a cache, each as the sum of its photos."""
    sums, shots = stored.sums(0, count), stored.shots(count)
    species = {}
    for i, (gram, n) in enumerate(zip(sums, shots, strict=True)):
        digests = sorted(hashlib.sha256(f"{i} {k}".encode()).hexdigest() for k in range(n))
        label = f"species {i:06}"
        part = ClassSum(tuple(digests), "fp32", gram)
        species[label] = gallery_species.Species(label, MappingProxyType({}), (part,))
    return Gallery(network, species)


def compare_engine(engine: QdrantRecognizer, birds: Recognizer, photos: list[np.ndarray]) -> dict[str, float]:
    """Compare the engine with the product of all operators in float64."""
    labels = list(birds.gallery.species)
    operators = np.stack(birds.matcher.operators(list(birds.gallery.species.values())))
    weights = Index(birds.gallery.network).folding.plain
    first, five, logit_errors, probability_errors = [], [], [0.0], []
    for start in range(0, len(photos), 32):
        part = photos[start : start + 32]
        grams = birds.backend.run("encode", {"images": np.stack(part)})["query_gram"]
        logits = (grams * weights) @ operators.astype(np.float64).T
        for answer, true in zip(engine.classify_batch(part, _TOP), logits, strict=True):
            best = [labels[i] for i in np.argsort(-true, kind="stable")[:_TOP]]
            first.append(answer.label == best[0])
            five.append(len(set(best) & {m.label for m in answer.ranking}) / len(best))
            logit_errors += [abs(m.logit - true[labels.index(m.label)]) for m in answer.ranking]
            exact = 1 / np.exp(true - true.max()).sum()
            probability_errors.append(abs(answer.probability / exact - 1))
    return {
        "recall_at_1": float(np.mean(first)),
        "recall_at_5": float(np.mean(five)),
        "largest_logit_error": float(max(logit_errors)),
        "median_probability_error": float(np.median(probability_errors)),
        "largest_probability_error": float(max(probability_errors)),
    }


def measure_index(
    birds: Recognizer, photos: list[np.ndarray], candidates: int
) -> dict[str, dict[str, float]]:
    """Return the index's recall of the best 1 and the best 5, without and with the vectors' mean."""
    network = birds.gallery.network
    operators = np.stack(birds.matcher.operators(list(birds.gallery.species.values())))
    grams = np.concatenate(
        [
            birds.backend.run("encode", {"images": np.stack(photos[i : i + 32])})["query_gram"]
            for i in range(0, len(photos), 32)
        ]
    )
    logits = (grams * Index(network).folding.plain) @ operators.astype(np.float64).T
    best = np.argsort(-logits, axis=1, kind="stable")[:, :_TOP]
    forms = {
        "as kept, without their mean": VectorForm.of(network, operators),
        "with their mean": VectorForm(network, np.zeros(network.packed, np.float32)),
    }
    return {
        name: {
            f"recall_at_{k}": measure_index_recall(
                form.vectors(operators), [form.query(gram) for gram in grams], best[:, :k], candidates
            )
            for k in (1, _TOP)
        }
        for name, form in forms.items()
    }


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="folders or zips of <split>/<class>/<image>")
    parser.add_argument("--cache", required=True, help="folder that keeps enrolled species between runs")
    parser.add_argument("--species", type=int, default=1000, help="species of the gallery")
    parser.add_argument("--queries", type=int, default=500, help="photos whose best species are checked")
    parser.add_argument("--candidates", type=int, default=50, help="species to ask Qdrant for")
    parser.add_argument("--index", action="store_true", help="test the engine's index too")
    parser.add_argument("--location", default=":memory:", help='":memory:", a folder, or a server\'s URL')


if __name__ == "__main__":
    raise SystemExit(main("qdrant-recall/1", __doc__, measure, _add_options))
