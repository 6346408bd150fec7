"""A Qdrant collection of species."""

from __future__ import annotations

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
from hmdrn_runtime.errors import GalleryError, MissingDependencyError
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64
from hmdrn_runtime.messages import format_error

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_PAGE = 1000
# Smaller than any species' id, so that it is the first of a collection in the engine's order.
_HEAD_ID = str(uuid.UUID(int=0))
_NAMESPACE = uuid.UUID("2d0f6f4e-6b0e-5c4d-9d53-6f1a2c7a9b10")


@dataclass(frozen=True)
class Entry:
    """A species in the engine: its label, and the key of its operator in hexadecimal."""

    label: str
    key: str

    @property
    def id(self) -> str:
        """The id of its point: the same for a label in every process."""
        return str(uuid.uuid5(_NAMESPACE, self.label))


@dataclass(frozen=True, eq=False)
class Hits:
    """Species that the engine returned: their labels, and their vectors (C, P)."""

    labels: Sequence[str]
    vectors: Float32


class Collection:
    """One collection. An extra point, the head, holds the network's fingerprint and the vectors' mean.

    Args:
        location: ":memory:", the URL of a server, a folder, or a connected client.
        name: The collection's name.
        network: The network of the operators.
        api_key: The server's key.

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
        self.name: str = name
        self.network: Network = network
        try:
            self._models = importlib.import_module("qdrant_client.models")
        except ImportError as error:
            raise MissingDependencyError("qdrant-client", "a gallery in Qdrant", "qdrant") from error
        try:
            self.client: QdrantClient = _connect(location, api_key)
        except Exception as error:
            raise _failure(error) from error

    def exists(self) -> bool:
        """Return whether the collection exists."""
        return bool(self._call("collection_exists"))

    def count_points(self) -> int:
        """Return the number of points, the head included."""
        return int(self._call("count", exact=True).count)

    def create(self, options: Mapping[str, Any]) -> None:
        """Create the collection, empty, with options for `QdrantClient.create_collection`."""
        size = self._models.VectorParams(size=self.network.packed, distance=self._models.Distance.DOT)
        self._call("create_collection", vectors_config=size, **options)

    def write_head(self, form: VectorForm) -> None:
        """Store the form of the vectors."""
        self._upsert([(_HEAD_ID, form.mean, {"network": self.network.fingerprint})])

    def read_head(self) -> VectorForm:
        """Return the form of the vectors.

        Raises:
            GalleryError: The collection is missing, has no head, or is of another network.
        """
        if not self.exists():
            raise GalleryError(f"the collection {self.name!r} does not exist: push a gallery first")
        heads = self._call("retrieve", ids=[_HEAD_ID], with_vectors=True)
        if not heads:
            raise GalleryError(f"the collection {self.name!r} is not a gallery of hmdrn's: give another name")
        fingerprint = str((heads[0].payload or {}).get("network"))
        if fingerprint != self.network.fingerprint:
            raise GalleryError(
                f"the collection {self.name!r} is of another network (fingerprint {fingerprint[:12]}) than "
                f"this bundle's ({self.network.fingerprint[:12]}): give another name"
            )
        return VectorForm(self.network, np.array(heads[0].vector, np.float32))

    def list_entries(self) -> Iterator[Entry]:
        """Yield the species in the collection."""
        offset = None
        while True:
            points, offset = self._call("scroll", limit=_PAGE, offset=offset)
            for point in points:
                payload = point.payload or {}
                if str(point.id) != _HEAD_ID:
                    yield Entry(str(payload.get("label")), str(payload.get("key")))
            if offset is None:
                return

    def put(self, entries: Iterable[Entry], vectors: Float32) -> None:
        """Store species with their vectors (N, P), replacing those of the same labels."""
        self._upsert(
            (entry.id, vector, {"label": entry.label, "key": entry.key})
            for entry, vector in zip(entries, vectors, strict=True)
        )

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove species."""
        selector = self._models.PointIdsList(points=[entry.id for entry in entries])
        self._call("delete", points_selector=selector, wait=True)

    def sample(self, count: int) -> Hits:
        """Return some species, always the same: ids are hashes, so the first ones are a random choice."""
        points, _ = self._call("scroll", limit=count + 1, with_vectors=True)
        return self._to_hits(points, count)

    def search(self, queries: Sequence[Float64], limit: int) -> list[Hits]:
        """Return for each query (P,) the species of largest inner product that the engine finds."""
        requests = [
            self._models.QueryRequest(
                query=query.astype(np.float32).tolist(),
                limit=limit + 1,  # the head may be among them
                with_payload=["label"],
                with_vector=True,
            )
            for query in queries
        ]
        responses = self._call("query_batch_points", requests=requests)
        return [self._to_hits(response.points, limit) for response in responses]

    def delete(self) -> None:
        """Delete the collection with its content."""
        self._call("delete_collection")

    def _to_hits(self, points: Sequence[Any], limit: int) -> Hits:
        chosen = [point for point in points if str(point.id) != _HEAD_ID][:limit]
        vectors = np.array([point.vector for point in chosen], np.float32)
        labels = [str(point.payload["label"]) for point in chosen]
        return Hits(labels, vectors.reshape(-1, self.network.packed))

    def _upsert(self, points: Iterable[tuple[str, Float32, dict[str, str]]]) -> None:
        structs = [self._models.PointStruct(id=i, vector=v.tolist(), payload=p) for i, v, p in points]
        self._call("upsert", points=structs, wait=True)

    def _call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the client for this collection; the client raises errors of many types."""
        try:
            return getattr(self.client, method)(self.name, **arguments)
        except Exception as error:
            raise _failure(error) from error


def _failure(error: Exception) -> GalleryError:
    return GalleryError(
        f"Qdrant failed ({format_error(error)[:300]}): check the address, the key and that the server is up"
    )


def _connect(location: str | os.PathLike[str] | QdrantClient, api_key: str | None) -> QdrantClient:
    from qdrant_client import QdrantClient

    if isinstance(location, QdrantClient):
        return location
    place = os.fspath(location)
    if place == ":memory:":
        return QdrantClient(":memory:")
    if "://" in place:
        return QdrantClient(url=place, api_key=api_key, check_compatibility=False)
    return QdrantClient(path=str(Path(place).expanduser()))
