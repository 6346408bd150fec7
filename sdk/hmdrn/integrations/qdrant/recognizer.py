"""A gallery in Qdrant: any number of species, on a cluster, on a server, in a folder or in memory.

The engine finds candidates by inner product; their logits are then computed in full from their vectors.
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
from hmdrn_runtime.arguments import check_count, check_kind
from hmdrn_runtime.classification.prediction import Prediction, rank_species
from hmdrn_runtime.errors import GalleryError, HmdrnError
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.images.query_preprocessing import prepare_boxes, prepare_query
from hmdrn_runtime.matching.base import BATCH, Scores
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.threshold import active_calibration
from hmdrn_runtime.recognizer import Recognizer

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

CANDIDATES = 50
SAMPLE = 512
"""Species that estimate the probabilities of all others."""
MAX_SIZE = 65_535
"""Most dimensions of a vector in Qdrant."""
_PUSH_BATCH = 64


@dataclass(frozen=True)
class PushReport:
    """Changes that a push made in the engine, as sorted labels.

    Examples:
        >>> hmdrn.PushReport(added=("Sooty Albatross",), changed=(), removed=()).added
        ('Sooty Albatross',)
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _CollectionState:
    """The collection at the last refresh: its form, its number of species, a sample of them."""

    form: VectorForm
    count: int
    sample: Hits


class QdrantRecognizer:
    """Recognizes species that are stored in a Qdrant collection.

        birds = hmdrn.load("default", gallery="site7.gallery")
        engine = QdrantRecognizer(birds, "http://localhost:6333", "site7")
        engine.push()
        engine.classify(frame).label

    The ranking's logits and distances are those of the full product for the candidates that the engine
    finds: Qdrant's local mode compares in full and misses none, a server's index may. With more species than
    candidates, the probabilities are estimated: a sample estimates the share of the other species.

    Args:
        recognizer: Recognizer with a ridge head: its network encodes the photos, `push` stores its gallery,
            and its calibration decides whether a photo is known.
        location: ":memory:", the URL of a server, a folder, or a connected client.
        collection: The collection's name; `push` creates it.
        candidates: Species that the engine returns for a photo, at least 1.
        api_key: The server's key.

    Raises:
        MissingDependencyError: The package qdrant-client is not installed.
        GalleryError: The bundle's species do not fit into an engine, or the engine does not answer.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> remote = hmdrn.QdrantRecognizer(birds, ":memory:")
        >>> len(remote.push().added)
        4
        >>> remote.classify("a.jpg").label
        'Sooty Albatross'
    """

    def __init__(
        self,
        recognizer: Recognizer,
        location: str | os.PathLike[str] | QdrantClient = ":memory:",
        collection: str = "hmdrn",
        candidates: int = CANDIDATES,
        api_key: str | None = None,
    ) -> None:
        check_kind(recognizer, Recognizer, "recognizer", "pass what hmdrn.load returns")
        network, matcher = recognizer.bundle.manifest.network, recognizer.matcher
        if not isinstance(matcher, RidgeMatcher) or network.packed > MAX_SIZE:
            reason = f"vectors of {network.packed} numbers, and Qdrant takes {MAX_SIZE}"
            if not isinstance(matcher, RidgeMatcher):
                reason = f"the head {network.head!r}, whose species are not vectors"
            raise GalleryError(f"this bundle has {reason}: use one with the ridge head, such as default")
        candidates = check_count(candidates, "candidates", "ask for at least 1 species, a whole number")
        self.recognizer: Recognizer = recognizer
        self.candidates: int = candidates
        self.collection: Collection = Collection(location, collection, network, api_key)
        self._matcher = matcher
        self._state: _CollectionState | None = None

    def __len__(self) -> int:
        return self._current_state().count

    def push(self, **options: Any) -> PushReport:
        """Store the recognizer's gallery in the collection; only changed species are solved and sent.

        Args:
            options: Options for `QdrantClient.create_collection` if the collection does not exist: shards,
                replicas, `hnsw_config`, `quantization_config`. An existing one may be empty.

        Raises:
            GalleryError: There are no species, the collection is of another network, or the engine fails.
            EnrollmentError: A species cannot be solved.
        """
        species = list(self.recognizer.gallery.species.values())
        exists = self.collection.exists()
        if not exists or not self.collection.count_points():
            if not species:
                raise GalleryError("nothing has been enrolled: enroll photos of at least one species first")
            sample = species[:: max(1, len(species) // SAMPLE)]
            new_form = VectorForm.fit(self.collection.network, self._solve(sample))
            if not exists:
                self.collection.create(options)
            self.collection.write_head(new_form)
        form = self.collection.read_head()
        entries = {s.label: Entry(s.label, s.key.hex()) for s in species}
        stored = {entry.label: entry for entry in self.collection.list_entries()}
        outdated = [s for s in species if stored.get(s.label) != entries[s.label]]
        for start in range(0, len(outdated), _PUSH_BATCH):
            batch = outdated[start : start + _PUSH_BATCH]
            self.collection.put([entries[s.label] for s in batch], form.to_vectors(self._solve(batch)))
        if removed := sorted(set(stored) - set(entries)):
            self.collection.remove([stored[label] for label in removed])
        self.refresh()
        labels = sorted(s.label for s in outdated)
        return PushReport(
            tuple(label for label in labels if label not in stored),
            tuple(label for label in labels if label in stored),
            tuple(removed),
        )

    def refresh(self) -> None:
        """Read the collection's size and sample again, after another process has pushed.

        Raises:
            GalleryError: The collection is missing, or is of another network.
        """
        self._read_state()

    def delete(self) -> None:
        """Delete the collection with its content."""
        self.collection.delete()
        self._state = None

    @overload
    def classify(self, image: ImageSource, boxes: None = None, top: int = 5) -> Prediction: ...

    @overload
    def classify(self, image: ImageSource, boxes: Sequence[Box], top: int = 5) -> list[Prediction]: ...

    def classify(
        self, image: ImageSource, boxes: Sequence[Box] | None = None, top: int = 5
    ) -> Prediction | list[Prediction]:
        """Recognize the species on a photo, or in boxes on it; as `Recognizer.classify`.

        Raises:
            ImageError: The photo or a box cannot be used.
            GalleryError: The collection is missing or empty, or the engine does not answer.
        """
        if boxes is None:
            return self.classify_batch([image], top)[0]
        preprocessing = self.recognizer.preprocessing
        return self._classify(prepare_boxes(image, boxes, preprocessing), top)

    def classify_batch(self, images: Iterable[ImageSource], top: int = 5) -> list[Prediction]:
        """Recognize the species on several photos, with one request to the engine for 32 of them."""
        preprocessing = self.recognizer.preprocessing
        return self._classify([prepare_query(image, preprocessing) for image in images], top)

    def _classify(self, pixels: Sequence[npt.NDArray[np.uint8]], top: int) -> list[Prediction]:
        if top < 1:
            raise HmdrnError(f"top is {top}: ask for at least 1 species")
        state = self._current_state()
        predictions: list[Prediction] = []
        for start in range(0, len(pixels), BATCH):
            photos = np.stack(pixels[start : start + BATCH])
            grams = self.recognizer.backend.run("encode", {"images": photos})["query_gram"]
            queries = [state.form.to_query(gram) for gram in grams]
            hits = self.collection.search(queries, max(self.candidates, top, 2))
            predictions += [self._predict(state, q, h, top) for q, h in zip(queries, hits, strict=True)]
        return predictions

    def _predict(self, state: _CollectionState, query: Float64, hits: Hits, top: int) -> Prediction:
        if not hits.labels:
            raise GalleryError(f"the collection {self.collection.name!r} has no species: push some first")
        form = state.form
        order = np.argsort(hits.labels)  # of equal logits the first label comes first
        labels = [hits.labels[i] for i in order]
        logits, distances = form.score(hits.vectors[order], query)
        background = self.recognizer.background
        calibration = active_calibration(self.recognizer.gallery.calibration, background)
        columns = [logits]
        if calibration is not None and background is not None:
            columns.append(form.score(form.to_vectors(background.operators), query)[0])
        scores = Scores({name: d[None] for name, d in distances.items()}, np.concatenate(columns)[None])
        (prediction,) = rank_species(labels, scores, top, calibration)
        temperature = 1.0 if calibration is None else calibration.temperature
        others = state.sample.vectors[~np.isin(state.sample.labels, labels)]
        other_count = state.count - len(labels)
        if other_count <= 0 or not len(others):
            return prediction
        others_mean = np.exp((form.score(others, query)[0] - logits.max()) / temperature).mean()
        total = np.exp((logits - logits.max()) / temperature).sum()
        share = float(total / (total + other_count * others_mean))
        return replace(
            prediction,
            probability=prediction.probability * share,
            margin=prediction.margin * share,
            ranking=tuple(replace(m, probability=m.probability * share) for m in prediction.ranking),
        )

    def _solve(self, species: Sequence[Species]) -> Float32:
        return np.stack(self._matcher.operators(species))

    def _read_state(self) -> _CollectionState:
        form, count = self.collection.read_head(), self.collection.count_points() - 1
        self._state = state = _CollectionState(form, count, self.collection.sample(SAMPLE))
        return state

    def _current_state(self) -> _CollectionState:
        return self._state or self._read_state()
