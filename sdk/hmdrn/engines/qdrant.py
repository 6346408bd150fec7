"""A gallery in Qdrant: any number of species, on a cluster, a server, in a folder or in memory.

The engine finds candidates by inner product; their logits are then computed in full from their own vectors.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmdrn.engines.vectors import VectorForm
from hmdrn_runtime.calibration import applied
from hmdrn_runtime.errors import GalleryError, HmdrnError, MissingDependencyError
from hmdrn_runtime.images import ImageSource
from hmdrn_runtime.large import key_of
from hmdrn_runtime.matching import RidgeMatcher, Scores
from hmdrn_runtime.messages import one_line
from hmdrn_runtime.prediction import Prediction, predictions
from hmdrn_runtime.quality import sighted
from hmdrn_runtime.recognizer import BATCH, Recognizer
from hmdrn_runtime.species import Species
from hmdrn_runtime.statistics import Float32, Float64

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

CANDIDATES = 50
SAMPLE = 512
"""Species by which the probabilities of all others are estimated."""
MAX_SIZE = 65_535
"""Numbers of a vector that Qdrant takes."""
_PART = 64
_PAGE = 1000
# Smaller than any species' number, so that it is the first of a collection in the engine's order.
_HEAD = str(uuid.UUID(int=0))
_NAMES = uuid.UUID("2d0f6f4e-6b0e-5c4d-9d53-6f1a2c7a9b10")


@dataclass(frozen=True)
class PushReport:
    """What a push changed in the engine: labels, sorted."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Collection:
    """What is known of a collection when it was last looked at.

    Attributes:
        form: The form of its vectors.
        count: Its species.
        sample: Numbers of some of them, chosen by chance, and their vectors.
    """

    form: VectorForm
    count: int
    sample: tuple[Sequence[str], Float32]


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
        candidates: Species that the engine is asked for.
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
        network = recognizer.bundle.manifest.network
        if network.head != "ridge" or network.packed > MAX_SIZE:
            reason = f"vectors of {network.packed} numbers, Qdrant takes {MAX_SIZE}"
            if network.head != "ridge":
                reason = f"the head {network.head!r}, whose species are no vectors"
            raise GalleryError(f"this bundle has {reason}: use a Conv-4 bundle with the ridge head")
        if candidates < 1:
            raise HmdrnError(f"candidates is {candidates}: ask for at least 1 species")
        self.recognizer, self.collection, self.candidates = recognizer, collection, candidates
        self._network = network
        try:
            self._models = importlib.import_module("qdrant_client.models")
        except ImportError as error:
            raise MissingDependencyError("qdrant-client", "a gallery in Qdrant", "qdrant") from error
        with self._asking():
            self._client = _connected(location, api_key)
        self._known: _Collection | None = None

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
        species = {_number(label): one for label, one in self.recognizer.gallery.species.items()}
        with self._asking():
            exists = self._client.collection_exists(self.collection)
            begun = exists and self._client.count(self.collection).count > 0
        if not begun:
            if not species:
                raise GalleryError("nothing has been enrolled: enroll photos of at least one species first")
            self._begin(list(species.values()), None if exists else options)
        form = self._form()
        there = dict(self._labels_and_keys())
        different = {
            number: one
            for number, one in species.items()
            if there.get(number) != (one.label, key_of(one).hex())
        }
        gone = sorted(set(there) - set(species))
        self._upsert(form, different)
        if gone:
            with self._asking():
                selector = self._models.PointIdsList(points=gone)
                self._client.delete(self.collection, points_selector=selector, wait=True)
        self.refresh()
        return PushReport(
            tuple(sorted(one.label for number, one in different.items() if number not in there)),
            tuple(sorted(one.label for number, one in different.items() if number in there)),
            tuple(sorted(there[number][0] for number in gone)),
        )

    def delete(self) -> None:
        """Remove the collection from the engine, with all that is in it."""
        with self._asking():
            self._client.delete_collection(self.collection)
        self._known = None

    def refresh(self) -> None:
        """Look at the collection anew, after another process has pushed: probabilities depend on its size.

        Raises:
            GalleryError: There is none, or it is of another network.
        """
        form = self._form()
        with self._asking():
            count = self._client.count(self.collection, exact=True).count - 1
            # Numbers are hashes of labels: the first in their order are a sample by chance.
            points, _ = self._client.scroll(self.collection, limit=SAMPLE + 1, with_vectors=True)
        chosen = [point for point in points if str(point.id) != _HEAD][:SAMPLE]
        vectors = np.array([p.vector for p in chosen], np.float32).reshape(-1, self._network.packed)
        self._known = _Collection(form, count, ([str(p.id) for p in chosen], vectors))

    def classify(self, image: ImageSource, top: int = 5) -> Prediction:
        """Name the species on a photo; as `Recognizer.classify`.

        Raises:
            ImageError: The photo cannot be used.
            GalleryError: The collection is missing or empty, or the engine does not answer.
        """
        return self.classify_batch([image], top)[0]

    def classify_batch(self, images: Iterable[ImageSource], top: int = 5) -> list[Prediction]:
        """Name the species on several photos, with one question to the engine for 32 of them."""
        if top < 1:
            raise HmdrnError(f"top is {top}: ask for at least 1 species")
        mode = self.recognizer.bundle.manifest.input.preprocessing
        pixels = [sighted(image, mode).pixels for image in images]
        answers: list[Prediction] = []
        for start in range(0, len(pixels), BATCH):
            photos = np.stack(pixels[start : start + BATCH])
            grams = self.recognizer.backend.run("encode", {"images": photos})["query_gram"]
            answers += self._answers(grams, top)
        return answers

    def _answers(self, grams: Float32, top: int) -> list[Prediction]:
        known = self._current()
        if not known.count:
            raise GalleryError(f"the collection {self.collection!r} has no species: push some first")
        queries = [known.form.query(gram) for gram in grams]
        asked = [
            self._models.QueryRequest(
                query=query.astype(np.float32).tolist(),
                limit=max(self.candidates, top, 2) + 1,  # the head may be among them
                with_payload=["label"],
                with_vector=True,
            )
            for query in queries
        ]
        with self._asking():
            found = self._client.query_batch_points(self.collection, requests=asked)
        return [
            self._answer(known, gram, query, response.points, top)
            for gram, query, response in zip(grams, queries, found, strict=True)
        ]

    def _answer(
        self, known: _Collection, gram: Float32, query: Float64, points: Sequence[Any], top: int
    ) -> Prediction:
        best = {p.payload["label"]: p for p in points if str(p.id) != _HEAD}
        labels = sorted(best)  # of equal logits the first label comes first
        vectors = np.array([best[label].vector for label in labels], np.float32)
        logits, distances = known.form.scores(vectors, query)
        kept, background = self.recognizer.gallery.calibration, self.recognizer.background
        calibration = applied(kept, background)
        columns = [logits]
        if calibration is not None and background is not None:
            columns.append(known.form.scores(known.form.vectors(background.operators), query)[0])
        scores = Scores({name: d[None] for name, d in distances.items()}, np.concatenate(columns)[None])
        (prediction,) = predictions(labels, scores, top, calibration)
        temperature = 1.0 if calibration is None else calibration.temperature
        return _shared(prediction, self._share(known, query, logits / temperature, best, temperature))

    def _share(
        self,
        known: _Collection,
        query: Float64,
        scaled: Float64,
        best: Mapping[str, Any],
        temperature: float,
    ) -> float:
        """What the candidates take of all probability."""
        left = known.count - len(best)
        numbers, vectors = known.sample
        found = {str(point.id) for point in best.values()}
        others = vectors[[number not in found for number in numbers]]
        if left <= 0 or not len(others):
            return 1.0
        rest = known.form.scores(others, query)[0] / temperature
        own = np.exp(scaled - scaled.max()).sum()
        return float(own / (own + left * np.exp(rest - scaled.max()).mean()))

    def _begin(self, species: Sequence[Species], options: Mapping[str, Any] | None) -> None:
        """Put the head into an empty collection, which is made where there are options for it."""
        sample = species[:: max(1, len(species) // SAMPLE)]
        form = VectorForm.of(self._network, self._operators(sample))
        head = self._models.PointStruct(
            id=_HEAD, vector=form.mean.tolist(), payload={"network": self._network.fingerprint}
        )
        size = self._models.VectorParams(size=self._network.packed, distance=self._models.Distance.DOT)
        with self._asking():
            if options is not None:
                self._client.create_collection(self.collection, vectors_config=size, **options)
            self._client.upsert(self.collection, points=[head], wait=True)

    def _upsert(self, form: VectorForm, species: Mapping[str, Species]) -> None:
        items = list(species.items())
        for start in range(0, len(items), _PART):
            part = items[start : start + _PART]
            vectors = form.vectors(self._operators([one for _, one in part]))
            points = [
                self._models.PointStruct(
                    id=number, vector=row.tolist(), payload={"label": one.label, "key": key_of(one).hex()}
                )
                for (number, one), row in zip(part, vectors, strict=True)
            ]
            with self._asking():
                self._client.upsert(self.collection, points=points, wait=True)

    def _operators(self, species: Sequence[Species]) -> Float32:
        matcher = self.recognizer.matcher
        assert isinstance(matcher, RidgeMatcher)  # the head was looked at
        return np.stack(matcher.operators(species))

    def _form(self) -> VectorForm:
        with self._asking():
            if not self._client.collection_exists(self.collection):
                raise GalleryError(f"there is no collection {self.collection!r}: push a gallery first")
            heads = self._client.retrieve(self.collection, [_HEAD], with_vectors=True)
        if not heads:
            raise GalleryError(
                f"the collection {self.collection!r} is no gallery of hmdrn's: give another name"
            )
        found = str((heads[0].payload or {}).get("network"))
        if found != self._network.fingerprint:
            raise GalleryError(
                f"the collection {self.collection!r} is of another network (fingerprint {found[:12]}) than "
                f"this bundle's ({self._network.fingerprint[:12]}): give another name"
            )
        return VectorForm(self._network, np.array(heads[0].vector, np.float32))

    def _labels_and_keys(self) -> Iterator[tuple[str, tuple[str, str]]]:
        offset = None
        while True:
            with self._asking():
                points, offset = self._client.scroll(self.collection, limit=_PAGE, offset=offset)
            for point in points:
                payload = point.payload or {}
                if str(point.id) != _HEAD:
                    yield str(point.id), (str(payload.get("label")), str(payload.get("key")))
            if offset is None:
                return

    def _current(self) -> _Collection:
        if self._known is None:
            self.refresh()
        assert self._known is not None
        return self._known

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """What the client raises is of many kinds, and no bug of ours."""
        try:
            yield
        except HmdrnError:
            raise
        except Exception as error:
            raise GalleryError(
                f"Qdrant did not do what was asked of it ({one_line(error)[:300]}): check the address, the "
                "key and whether it runs"
            ) from error


def _connected(location: str | os.PathLike[str] | QdrantClient, api_key: str | None) -> QdrantClient:
    from qdrant_client import QdrantClient

    if isinstance(location, QdrantClient):
        return location
    place = os.fspath(location)
    if place == ":memory:":
        return QdrantClient(":memory:")
    if "://" in place:
        return QdrantClient(url=place, api_key=api_key, check_compatibility=False)
    return QdrantClient(path=str(Path(place).expanduser()))


def _number(label: str) -> str:
    """The number of a species' point: one label, one number, in every process."""
    return str(uuid.uuid5(_NAMES, label))


def _shared(prediction: Prediction, share: float) -> Prediction:
    """A prediction whose species take a share of all probability."""
    ranking = tuple(replace(m, probability=m.probability * share) for m in prediction.ranking)
    return replace(
        prediction,
        probability=prediction.probability * share,
        margin=prediction.margin * share,
        ranking=ranking,
    )
