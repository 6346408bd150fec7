"""Species in Qdrant against the full product: how many of the best are found, what is answered, how fast.

python -m benchmarks.qdrant_recall DATA... --cache FOLDER [--species 1000] [--index] [--location URL] [--json]

Species and queries are those of `benchmarks.species`, and lie in its cache: 1 to 5 augmented train
photographs for each species, val photographs as queries. The reference is the product in float64. In its
local mode Qdrant compares in full; give the URL of a server to see what its index finds (the collection
"hmdrn-benchmark" is made there, and deleted). --index has the index of Qdrant's own engine search here, with
a server's default settings (m 16, ef_construct 100), also with the mean that is taken from the vectors.
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
from benchmarks.common import Bench, Result, Table, main, ms
from benchmarks.qdrant_index import index_recall
from benchmarks.species_cache import Species, fill, queries
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


def measure(bench: Bench) -> Result:
    """Push a gallery, and ask both."""
    given = bench.arguments
    cache = Path(given.cache)
    fill(given.data, cache, given.species)
    queries(given.data, cache, given.queries)
    plain = hmdrn.load(backend="onnxruntime", threads=1)
    gallery = gallery_of(Species.open(cache), plain.gallery.network, given.species)
    birds = Recognizer(plain.bundle, plain.backend, gallery)
    photos = list(np.load(cache / "queries.npy", mmap_mode="r")[: given.queries])
    engine = QdrantRecognizer(birds, given.location, _COLLECTION, given.candidates)
    begun = time.perf_counter()
    engine.push()
    pushed = time.perf_counter() - begun
    try:
        facts = compared(engine, birds, photos)
        turn = iter(range(sys.maxsize))
        times = bench.in_turns(
            {
                "engine": lambda: engine.classify(photos[next(turn) % len(photos)], top=_TOP),
                "recognizer": lambda: birds.classify(photos[next(turn) % len(photos)], top=_TOP),
            }
        )
    finally:
        engine.delete()
    ratio = ratio_of_medians(times["engine"], times["recognizer"])
    values = {
        "species": given.species,
        "candidates": given.candidates,
        "queries": len(photos),
        "location": given.location,
        "push_seconds": pushed,
        **facts,
        "seconds_per_photo": {name: float(np.median(of)) for name, of in times.items()},
        "ratio": ratio.value,
    }
    row = [
        f"{given.species:,}",
        str(given.candidates),
        f"{facts['recall_at_1']:.2%}",
        f"{facts['recall_at_5']:.2%}",
        f"{facts['largest_logit_error']:.1g}",
        f"{facts['median_probability_error']:.2%}",
        ms(values["seconds_per_photo"]["engine"]),
        ms(values["seconds_per_photo"]["recognizer"]),
        f"{pushed:.1f} s",
    ]
    tables = []
    if given.index:
        values["index"] = found = indexed(birds, photos, given.candidates)
        rows = [[name, *(f"{share:.2%}" for share in of.values())] for name, of in found.items()]
        tables = [Table("found by the engine's index", ("vectors", "recall@1", "recall@5"), rows)]
    columns = ("species", "candidates", "recall@1", "recall@5", "logit off", "probability off")
    columns = (*columns, "one photo", "without Qdrant", "push")
    return Result(
        values, [Table(f"Qdrant at {given.location}, {len(photos)} photos", columns, [row]), *tables]
    )


def gallery_of(stored: Species, network: Network, count: int) -> Gallery:
    """A gallery of the first species of a cache, each as the sum of its photos."""
    sums, shots = stored.sums(0, count), stored.shots(count)
    found = {}
    for i, (gram, n) in enumerate(zip(sums, shots, strict=True)):
        digests = sorted(hashlib.sha256(f"{i} {k}".encode()).hexdigest() for k in range(n))
        label = f"species {i:06}"
        part = ClassSum(tuple(digests), "fp32", gram)
        found[label] = gallery_species.Species(label, MappingProxyType({}), (part,))
    return Gallery(network, found)


def compared(engine: QdrantRecognizer, birds: Recognizer, photos: list[np.ndarray]) -> dict[str, float]:
    """Against the product of all operators in float64."""
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
            given = {m.label: m.logit for m in answer.ranking}
            first.append(answer.label == best[0])
            five.append(len(set(best) & set(given)) / len(best))
            logit_errors += [abs(logit - true[labels.index(label)]) for label, logit in given.items()]
            exact = 1 / np.exp(true - true.max()).sum()
            probability_errors.append(abs(answer.probability / exact - 1))
    return {
        "recall_at_1": float(np.mean(first)),
        "recall_at_5": float(np.mean(five)),
        "largest_logit_error": float(max(logit_errors)),
        "median_probability_error": float(np.median(probability_errors)),
        "largest_probability_error": float(max(probability_errors)),
    }


def indexed(birds: Recognizer, photos: list[np.ndarray], candidates: int) -> dict[str, dict[str, float]]:
    """What the engine's index finds of the best 1 and the best 5, with and without the vectors' mean."""
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
            f"recall_at_{k}": index_recall(
                form.vectors(operators), [form.query(gram) for gram in grams], best[:, :k], candidates
            )
            for k in (1, _TOP)
        }
        for name, form in forms.items()
    }


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="folders or zips of <split>/<class>/<image>")
    parser.add_argument("--cache", required=True, help="folder for species that were enrolled before")
    parser.add_argument("--species", type=int, default=1000, help="species of the gallery")
    parser.add_argument("--queries", type=int, default=500, help="photos whose best species are checked")
    parser.add_argument("--candidates", type=int, default=50, help="species that Qdrant is asked for")
    parser.add_argument("--index", action="store_true", help="try the engine's index too")
    parser.add_argument("--location", default=":memory:", help='":memory:", a folder, or a server\'s URL')


if __name__ == "__main__":
    raise SystemExit(main("qdrant-recall/1", __doc__, measure, _options))
