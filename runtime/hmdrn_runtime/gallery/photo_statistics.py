"""Stored statistics of photos, and their sums by class.

Ridge needs only Gram matrices: packed upper triangles row by row, level high before level mid. If the
tokens are fewer numbers (wide backbones), tokens are stored and the Gram matrices computed from them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.photo_record import PhotoRecord, escape_name
from hmdrn_runtime.images.thumbnail import decode_thumbnail

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhotoStatistics:
    """Statistics of one enrolled photo.

    Attributes:
        digest: SHA-256 of the network's input; identifies the photo.
        variant: Variant of the graphs that computed the statistics.
        arrays: float32 arrays with the names and shapes of `array_shapes`.
        thumbnail: The network's input as JPEG; None unless the user asked to keep it. Allows enrolling the
            photo again under another network.
        sketch: The photo in `SKETCH_SIDE` x `SKETCH_SIDE` gray values, which shows copies of it; empty if
            unknown.
        record: The photo's name, times and verdict, for people.
        content: SHA-256 of the arrays. Two devices may round the same photo differently: equal contents
            mean equal arrays, equal digests need not.
    """

    digest: str
    variant: str
    arrays: Mapping[str, Float32] = field(compare=False)
    thumbnail: bytes | None = field(default=None, repr=False)
    sketch: bytes = field(default=b"", repr=False, compare=False)
    record: PhotoRecord = field(default_factory=PhotoRecord)
    content: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", _content(self.arrays[name] for name in sorted(self.arrays)))

    def with_details(self, record: PhotoRecord, thumbnail: bytes | None) -> PhotoStatistics:
        """Return the same photo with another record and thumbnail."""
        changed = copy(self)  # `replace` would compute the digest of the arrays again
        object.__setattr__(changed, "record", record)
        object.__setattr__(changed, "thumbnail", thumbnail)
        return changed

    @property
    def title(self) -> str:
        """Its file's name and the beginning of its digest, or only that, for people."""
        digest, name = self.digest[:12], self.record.name
        return f"{escape_name(name)} ({digest})" if name else digest

    @property
    def pixels(self) -> npt.NDArray[np.uint8] | None:
        """The thumbnail as an array (side, side, 3); raises ImageError if it is damaged."""
        return None if self.thumbnail is None else decode_thumbnail(self.thumbnail)


@dataclass(frozen=True)
class ClassSum:
    """Sum over photos of a class that were compacted; it cannot be split again.

    Attributes:
        digests: The photos' digests, sorted; these photos must not be counted again.
        variant: The variants that computed their statistics, joined by "+".
        gram: Sum of the packed support Gram matrices, float32 (P,), the solve's input.
        content: SHA-256 of `gram`.
    """

    digests: tuple[str, ...]
    variant: str
    gram: Float32 = field(compare=False)
    content: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", _content([self.gram]))


def _content(arrays: Iterable[Float32]) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def array_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays stored for one photo.

    Ridge: "support" and "query", the statistics of both branches, each (P,) as Gram matrices or
    (sum of tokens x channels,) as tokens. Attention: "k_<level>" and "v_<level>", (tokens, channels).
    """
    if network.head == "attention":
        return {
            f"{kind}_{level.name}": (level.tokens, level.channels)
            for level in network.levels
            for kind in "kv"
        }
    size = (
        network.packed if network.statistics == "gram" else sum(v.tokens * v.channels for v in network.levels)
    )
    return {"support": (size,), "query": (size,)}


def check_network(own: Network, other: Network, name: str) -> None:
    """Raise GalleryError if `name`, e.g. "the gallery", is not of the bundle's `own` network."""
    if own.fingerprint != other.fingerprint:
        raise GalleryError(
            f"{name} was enrolled with other weights or preprocessing ({other.backbone} {other.head}, "
            f"fingerprint {other.fingerprint[:12]}) than this bundle's ({own.backbone} {own.head}, "
            f"{own.fingerprint[:12]}): "
            "use the bundle it was made with, or enroll the photos again"
        )
    if array_shapes(own) != array_shapes(other):
        raise GalleryError(f"{name} has other statistics than this bundle's: enroll the photos again")


def level_slices(network: Network) -> dict[str, slice]:
    """Return each level's part of packed Gram matrices and operators, by name."""
    ends = itertools.accumulate(level.packed for level in network.levels)
    return {v.name: slice(end - v.packed, end) for v, end in zip(network.levels, ends, strict=True)}


def packed_gram(network: Network, statistics: Float32) -> Float64:
    """Return a photo's packed Gram matrices, float64 (P,).

    Tokens are summed location by location with elementwise operations only, which round the same on every
    machine, unlike a matrix library.

    Args:
        network: A ridge network; says whether statistics are Gram matrices or tokens.
        statistics: Its array "support" or "query".
    """
    if network.statistics == "gram":
        return statistics.astype(np.float64)
    parts, start = [], 0
    for level in network.levels:
        end = start + level.tokens * level.channels
        tokens = statistics[start:end].reshape(level.tokens, level.channels).astype(np.float64)
        rows, columns = np.triu_indices(level.channels)
        total = np.zeros(level.packed)
        for token in tokens:
            total += token[rows] * token[columns]
        parts.append(total)
        start = end
    return np.concatenate(parts)


def gram_sum(network: Network, photos: Iterable[PhotoStatistics], sums: Iterable[ClassSum] = ()) -> Float64:
    """Return a class's sum of packed support Gram matrices, float64 (P,).

    Added in the order of the digests, and never by subtraction: the same photos give the same bits on every
    device, whatever the order of enrollment.
    """
    total = np.zeros(network.packed)
    for photo in sorted(photos, key=lambda p: p.digest):
        total += packed_gram(network, photo.arrays["support"])
    for part in sorted(sums, key=lambda s: s.digests):
        total += part.gram
    return total
