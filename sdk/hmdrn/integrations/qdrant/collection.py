"""A Qdrant collection of species: what is asked of the engine, and in which form."""

from __future__ import annotations

import contextlib
import importlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmdrn.integrations.qdrant.vectors import VectorForm
from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import GalleryError, HmdrnError, MissingDependencyError
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.messages import one_line

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_PAGE = 1000
# Smaller than any species' number, so that it is the first of a collection in the engine's order.
_HEAD = str(uuid.UUID(int=0))
_NAMES = uuid.UUID("2d0f6f4e-6b0e-5c4d-9d53-6f1a2c7a9b10")


@dataclass(frozen=True)
class Entry:
    """A species in the engine: its label, and in hexadecimal what its operator depends on."""

    label: str
    key: str

    @property
    def number(self) -> str:
        """The number of its point: one label, one number, in every process."""
        return str(uuid.uuid5(_NAMES, self.label))


@dataclass(frozen=True, eq=False)
class Hits:
    """Species that the engine found: their labels, and their vectors (C, P)."""

    labels: Sequence[str]
    vectors: Float32


class Collection:
    """One collection. A point of its own, the head, keeps the network's fingerprint and the vectors' mean.

    Args:
        location: ":memory:", the URL of a server, a folder, or a client that is connected already.
        name: The collection's name.
        network: What the operators are of.
        api_key: Of a server.

    Raises:
        MissingDependencyError: The package qdrant-client is not installed.
        GalleryError: The engine does not answer; here and in every method.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | QdrantClient,
        name: str,
        network: Network,
        api_key: str | None,
    ) -> None:
        self.name, self.network = name, network
        try:
            self._models = importlib.import_module("qdrant_client.models")
        except ImportError as error:
            raise MissingDependencyError("qdrant-client", "a gallery in Qdrant", "qdrant") from error
        with _asking():
            self.client = _connected(location, api_key)

    def exists(self) -> bool:
        """Whether it is there."""
        with _asking():
            return bool(self.client.collection_exists(self.name))

    def points(self) -> int:
        """How many points it has, the head included."""
        with _asking():
            return int(self.client.count(self.name, exact=True).count)

    def create(self, options: Mapping[str, Any]) -> None:
        """Make it, empty, with options for `QdrantClient.create_collection`."""
        size = self._models.VectorParams(size=self.network.packed, distance=self._models.Distance.DOT)
        with _asking():
            self.client.create_collection(self.name, vectors_config=size, **options)

    def begin(self, form: VectorForm) -> None:
        """Put the head into it."""
        self._upsert([(_HEAD, form.mean, {"network": self.network.fingerprint})])

    def form(self) -> VectorForm:
        """The form of its vectors.

        Raises:
            GalleryError: There is none, it has no head, or is of another network.
        """
        if not self.exists():
            raise GalleryError(f"there is no collection {self.name!r}: push a gallery first")
        with _asking():
            heads = self.client.retrieve(self.name, [_HEAD], with_vectors=True)
        if not heads:
            raise GalleryError(f"the collection {self.name!r} is no gallery of hmdrn's: give another name")
        found = str((heads[0].payload or {}).get("network"))
        if found != self.network.fingerprint:
            raise GalleryError(
                f"the collection {self.name!r} is of another network (fingerprint {found[:12]}) than this "
                f"bundle's ({self.network.fingerprint[:12]}): give another name"
            )
        return VectorForm(self.network, np.array(heads[0].vector, np.float32))

    def entries(self) -> Iterator[Entry]:
        """The species that are in it."""
        offset = None
        while True:
            with _asking():
                points, offset = self.client.scroll(self.name, limit=_PAGE, offset=offset)
            for point in points:
                payload = point.payload or {}
                if str(point.id) != _HEAD:
                    yield Entry(str(payload.get("label")), str(payload.get("key")))
            if offset is None:
                return

    def put(self, entries: Iterable[Entry], vectors: Float32) -> None:
        """Add species with their vectors (N, P), in the place of those of the same labels."""
        payloads = [(e.number, {"label": e.label, "key": e.key}) for e in entries]
        self._upsert([(n, v, payload) for (n, payload), v in zip(payloads, vectors, strict=True)])

    def remove(self, entries: Iterable[Entry]) -> None:
        """Take species out of it."""
        selector = self._models.PointIdsList(points=[entry.number for entry in entries])
        with _asking():
            self.client.delete(self.name, points_selector=selector, wait=True)

    def sample(self, count: int) -> Hits:
        """Some of its species, always the same: numbers are hashes, the first ones a choice by chance."""
        with _asking():
            points, _ = self.client.scroll(self.name, limit=count + 1, with_vectors=True)
        return self._hits(points, count)

    def search(self, queries: Sequence[Float64], limit: int) -> list[Hits]:
        """For each query (P,), the species of largest inner product that the engine finds."""
        asked = [
            self._models.QueryRequest(
                query=query.astype(np.float32).tolist(),
                limit=limit + 1,  # the head may be among them
                with_payload=["label"],
                with_vector=True,
            )
            for query in queries
        ]
        with _asking():
            found = self.client.query_batch_points(self.name, requests=asked)
        return [self._hits(response.points, limit) for response in found]

    def delete(self) -> None:
        """Remove it from the engine, with all that is in it."""
        with _asking():
            self.client.delete_collection(self.name)

    def _hits(self, points: Sequence[Any], limit: int) -> Hits:
        chosen = [point for point in points if str(point.id) != _HEAD][:limit]
        vectors = np.array([point.vector for point in chosen], np.float32)
        return Hits(
            [str(point.payload["label"]) for point in chosen], vectors.reshape(-1, self.network.packed)
        )

    def _upsert(self, points: Iterable[tuple[str, Float32, dict[str, str]]]) -> None:
        sent = [self._models.PointStruct(id=n, vector=v.tolist(), payload=p) for n, v, p in points]
        with _asking():
            self.client.upsert(self.name, points=sent, wait=True)


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """What the client raises is of many kinds, and no bug of ours."""
    try:
        yield
    except HmdrnError:
        raise
    except Exception as error:
        raise GalleryError(
            f"Qdrant did not do what was asked of it ({one_line(error)[:300]}): check the address, the key "
            "and whether it runs"
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
