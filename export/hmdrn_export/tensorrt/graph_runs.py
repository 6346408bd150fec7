"""Runs of a bundle's graphs for their comparison: in batches, and as a camera runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_export.tensorrt.quantized_check import Pair
from hmdrn_export.tensorrt.samples import Samples
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.tensorrt.batching import pad_class_count
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.matching.base import Matcher, Scores
from hmdrn_runtime.matching.factory import open_matcher

FRAMES = 3
"""Runs of a single photo, again and again as of a camera: the last as a captured graph where there is one."""

Outputs: TypeAlias = dict[tuple[str, str], npt.NDArray[Any]]
"""Outputs by graph and name."""


def run_graphs(bundle: Bundle, backend: Backend, photos: npt.NDArray[np.uint8]) -> Outputs:
    """Return the outputs, by graph and name, of the graphs that take photos alone."""
    return {
        (graph, name): array
        for graph, description in bundle.manifest.variants[bundle.variant].items()
        if [tensor.name for tensor in description.inputs] == ["images"]
        for name, array in backend.run(graph, {"images": photos}).items()
    }


def classify(bundle: Bundle, backend: Backend, samples: Samples) -> Scores:
    """Enroll the support photos and classify the queries."""
    matcher, operands = _enroll(bundle, backend, samples)
    return matcher.classify(samples.queries, matcher.place(operands))


def classify_in_all_ways(bundle: Bundle, backend: Backend, samples: Samples) -> list[Scores]:
    """Enroll the support photos and classify the queries: at once, the first as a frame, all in a crowd."""
    matcher, operands = _enroll(bundle, backend, samples)
    placed = matcher.place(operands)
    scores = matcher.classify(samples.queries, placed)
    for _ in range(FRAMES):
        frame = matcher.classify(samples.queries[:1], placed)
    crowd = _crowd(samples.classes)
    crowded = matcher.classify(
        samples.queries, matcher.place({name: array[crowd] for name, array in operands.items()})
    )
    return [scores, frame, crowded]


def _enroll(
    bundle: Bundle, backend: Backend, samples: Samples
) -> tuple[Matcher, dict[str, npt.NDArray[Any]]]:
    matcher = open_matcher(bundle.manifest.network, backend, bundle.variant)
    photos, shots = matcher.compute_statistics(samples.support), samples.shots
    species = [
        extend_species(None, f"species {c}", photos[c * shots : (c + 1) * shots])
        for c in range(samples.classes)
    ]
    return matcher, matcher.class_operands(species)


def _crowd(classes: int) -> npt.NDArray[np.int64]:
    """Number the classes again and again, up to more than fill the size that they are padded to."""
    return np.arange(pad_class_count(classes, sys.maxsize) + 1) % classes


def pair_scores(given: list[Scores], wanted: Scores) -> Iterator[list[Pair]]:
    """Pair the results of `classify_in_all_ways` with the expected ones, for each level and the logits."""
    tables = [{**scores.distances, "logits": scores.logits} for scores in (wanted, *given)]
    for name, array in tables[0].items():
        scores, frame, crowded = (table[name] for table in tables[1:])
        yield [(scores, array), (frame, array[:1]), (crowded, array[:, _crowd(array.shape[1])])]
