"""A gallery in Qdrant: any number of species, on a cluster, a server, in a folder or in memory.

The engine finds candidates by inner product; their logits are then computed in full from their own vectors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from hmdrn.integrations.qdrant.collection import Collection, Entry, Hits
from hmdrn.integrations.qdrant.vectors import VectorForm
from hmdrn_runtime.errors import GalleryError, HmdrnError
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.preprocessing import Box, ImageSource
from hmdrn_runtime.images.query_preprocessing import prepare_boxes, prepare_query
from hmdrn_runtime.matching.base import Scores
from hmdrn_runtime.matching.index.species_index import key_of
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.threshold import applied
from hmdrn_runtime.prediction import Prediction, predictions
from hmdrn_runtime.recognizer import BATCH, Recognizer

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

CANDIDATES = 50
SAMPLE = 512
"""Species by which the probabilities of all others are estimated."""
MAX_SIZE = 65_535
"""Numbers of a vector that Qdrant takes."""
_PART = 64


@dataclass(frozen=True)
class PushReport:
    """What a push changed in the engine: labels, sorted."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was known of the collection at the last look: its form, its size, some of its species."""

    form: VectorForm
    count: int
    sample: Hits


class QdrantRecognizer:
    """Names species that are in a Qdrant collection.

        birds = hmdrn.load("default", gallery="site7.gallery")
        engine = QdrantRecognizer(birds, "http://localhost:6333", "site7")
        engine.push()
        engine.classify(frame).label

    The ranking's logits and distances are those of the full product for the candidates that the engine
    finds: Qdrant's local mode compares in full and misses none, a server's index may. Of more species than
    candidates, the probabilities are an estimate: what the others take of them is told by a sample.

    Args:
        recognizer: Its network sees the photos; `push` takes its gallery, and its calibration says what is
            known. The ridge head alone.
        location: ":memory:", the URL of a server, a folder, or a client that is connected already.
        collection: The collection's name; `push` makes it.
        candidates: Species that the engine is asked for, at least 1.
        api_key: Of a server.

    Raises:
        MissingDependencyError: The package qdrant-client is not installed.
        GalleryError: The bundle is none for an engine, or the engine does not answer.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        location: str | os.PathLike[str] | QdrantClient = ":memory:",
        collection: str = "hmdrn",
        candidates: int = CANDIDATES,
        api_key: str | None = None,
    ) -> None:
        network, matcher = recognizer.bundle.manifest.network, recognizer.matcher
        if not isinstance(matcher, RidgeMatcher) or network.packed > MAX_SIZE:
            reason = f"vectors of {network.packed} numbers, and Qdrant takes {MAX_SIZE}"
            if not isinstance(matcher, RidgeMatcher):
                reason = f"the head {network.head!r}, whose species are no vectors"
            raise GalleryError(f"this bundle has {reason}: use a Conv-4 bundle with the ridge head")
        if candidates < 1:
            raise HmdrnError(f"candidates is {candidates}: ask for at least 1 species")
        self.recognizer, self.candidates = recognizer, candidates
        self.collection = Collection(location, collection, network, api_key)
        self._matcher = matcher
        self._seen: _Seen | None = None

    def __len__(self) -> int:
        return self._current().count

    def push(self, **options: Any) -> PushReport:
        """Make the collection what the recognizer's gallery is; only what differs is solved and sent.

        Args:
            options: For `QdrantClient.create_collection`, where there is no collection yet: shards,
                replicas, `hnsw_config`, `quantization_config`. One that is there may be empty.

        Raises:
            GalleryError: There is no species, the collection is of another network, or the engine refuses.
            EnrollmentError: A species that cannot be solved.
        """
        species = list(self.recognizer.gallery.species.values())
        exists = self.collection.exists()
        if not exists or not self.collection.points():
            if not species:
                raise GalleryError("nothing has been enrolled: enroll photos of at least one species first")
            some = species[:: max(1, len(species) // SAMPLE)]
            form = VectorForm.of(self.collection.network, self._operators(some))
            if not exists:
                self.collection.create(options)
            self.collection.begin(form)
        form = self.collection.form()
        wanted = {one.label: Entry(one.label, key_of(one).hex()) for one in species}
        there = {entry.label: entry for entry in self.collection.entries()}
        different = [one for one in species if there.get(one.label) != wanted[one.label]]
        for start in range(0, len(different), _PART):
            part = different[start : start + _PART]
            self.collection.put([wanted[one.label] for one in part], form.vectors(self._operators(part)))
        if gone := sorted(set(there) - set(wanted)):
            self.collection.remove([there[label] for label in gone])
        self.refresh()
        labels = sorted(one.label for one in different)
        return PushReport(
            tuple(label for label in labels if label not in there),
            tuple(label for label in labels if label in there),
            tuple(gone),
        )

    def refresh(self) -> None:
        """Look at the collection anew, after another process has pushed: probabilities depend on its size.

        Raises:
            GalleryError: There is none, or it is of another network.
        """
        form = self.collection.form()
        self._seen = _Seen(form, self.collection.points() - 1, self.collection.sample(SAMPLE))

    def delete(self) -> None:
        """Remove the collection from the engine, with all that is in it."""
        self.collection.delete()
        self._seen = None

    @overload
    def classify(self, image: ImageSource, boxes: None = None, top: int = 5) -> Prediction: ...

    @overload
    def classify(self, image: ImageSource, boxes: Sequence[Box], top: int = 5) -> list[Prediction]: ...

    def classify(
        self, image: ImageSource, boxes: Sequence[Box] | None = None, top: int = 5
    ) -> Prediction | list[Prediction]:
        """Name the species on a photo, or in boxes on it; as `Recognizer.classify`.

        Raises:
            ImageError: The photo or a box cannot be used.
            GalleryError: The collection is missing or empty, or the engine does not answer.
        """
        if boxes is None:
            return self.classify_batch([image], top)[0]
        mode = self.recognizer.bundle.manifest.input.preprocessing
        return self._classified(prepare_boxes(image, boxes, mode), top)

    def classify_batch(self, images: Iterable[ImageSource], top: int = 5) -> list[Prediction]:
        """Name the species on several photos, with one question to the engine for 32 of them."""
        mode = self.recognizer.bundle.manifest.input.preprocessing
        return self._classified([prepare_query(image, mode) for image in images], top)

    def _classified(self, pixels: Sequence[npt.NDArray[np.uint8]], top: int) -> list[Prediction]:
        if top < 1:
            raise HmdrnError(f"top is {top}: ask for at least 1 species")
        seen = self._current()
        answers: list[Prediction] = []
        for start in range(0, len(pixels), BATCH):
            photos = np.stack(pixels[start : start + BATCH])
            grams = self.recognizer.backend.run("encode", {"images": photos})["query_gram"]
            queries = [seen.form.query(gram) for gram in grams]
            found = self.collection.search(queries, max(self.candidates, top, 2))
            answers += [
                self._answer(seen, query, hits, top) for query, hits in zip(queries, found, strict=True)
            ]
        return answers

    def _answer(self, seen: _Seen, query: Float64, hits: Hits, top: int) -> Prediction:
        if not hits.labels:
            raise GalleryError(f"the collection {self.collection.name!r} has no species: push some first")
        order = np.argsort(hits.labels)  # of equal logits the first label comes first
        labels = [hits.labels[i] for i in order]
        logits, distances = seen.form.scores(hits.vectors[order], query)
        background = self.recognizer.background
        calibration = applied(self.recognizer.gallery.calibration, background)
        columns = [logits]
        if calibration is not None and background is not None:
            columns.append(seen.form.scores(seen.form.vectors(background.operators), query)[0])
        scores = Scores({name: d[None] for name, d in distances.items()}, np.concatenate(columns)[None])
        (prediction,) = predictions(labels, scores, top, calibration)
        temperature = 1.0 if calibration is None else calibration.temperature
        others = seen.sample.vectors[~np.isin(seen.sample.labels, labels)]
        left = seen.count - len(labels)
        if left <= 0 or not len(others):
            return prediction
        rest = np.exp((seen.form.scores(others, query)[0] - logits.max()) / temperature)
        own = np.exp((logits - logits.max()) / temperature).sum()
        return _shared(prediction, float(own / (own + left * rest.mean())))

    def _operators(self, species: Sequence[Species]) -> Float32:
        return np.stack(self._matcher.operators(species))

    def _current(self) -> _Seen:
        if self._seen is None:
            self.refresh()
        assert self._seen is not None
        return self._seen


def _shared(prediction: Prediction, share: float) -> Prediction:
    """A prediction whose species take a share of all probability."""
    return replace(
        prediction,
        probability=prediction.probability * share,
        margin=prediction.margin * share,
        ranking=tuple(replace(m, probability=m.probability * share) for m in prediction.ranking),
    )
