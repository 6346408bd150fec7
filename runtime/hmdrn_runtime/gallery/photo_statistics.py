"""What a gallery keeps of a photo, and what a class's sum is made of.

Ridge needs only Gram matrices: packed upper triangles row by row, level high before level mid. Where the
tokens are fewer numbers (wide backbones), they are kept instead, and the Gram matrices follow from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.bundle.manifest import Network

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhotoStatistics:
    """One enrolled photo.

    Attributes:
        digest: SHA-256 of the network's input, the photo's identity.
        variant: Variant of the graphs that made the statistics.
        arrays: float32 arrays by name, as `array_shapes` says.
        thumbnail: The photo itself as the network sees it, RGB uint8 (84, 84, 3) row by row, 21 KB; None
            unless its user asked to keep it. With it the photo can be enrolled under another network.
        content: SHA-256 of the arrays. Two devices may round the same photo differently: equal digests
            need not mean equal arrays, equal contents do.
    """

    digest: str
    variant: str
    arrays: Mapping[str, Float32] = field(compare=False)
    thumbnail: bytes | None = field(default=None, repr=False)
    content: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", _content(self.arrays[name] for name in sorted(self.arrays)))

    def with_thumbnail(self, thumbnail: bytes | None) -> PhotoStatistics:
        """The same photo with another thumbnail, or without one."""
        return self if thumbnail == self.thumbnail else replace(self, thumbnail=thumbnail)


@dataclass(frozen=True)
class ClassSum:
    """What compacting leaves of some photos of a class: their sum, which cannot be taken apart.

    Attributes:
        digests: The photos' digests, sorted: none of them is to be counted again.
        variant: The variants that made their statistics, joined by "+".
        gram: Summed packed support Gram matrices, float32 (P,), as the solve takes them.
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
    """Names and shapes of the arrays kept of one photo.

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


def packed_gram(network: Network, statistics: Float32) -> Float64:
    """A photo's packed Gram matrices in float64.

    Args:
        network: Says in which form the statistics are.
        statistics: A "support" or "query" array of a ridge network.

    Returns:
        (P,). From tokens it is summed location by location with elementwise operations alone, whose
        rounding is the same on every machine, unlike a matrix library's.
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
    """The class's sum of packed support Gram matrices, float64 (P,).

    Added in the order of the digests and never by subtraction: the same photos give the same bits in
    whatever order, on whatever device they came together.
    """
    total = np.zeros(network.packed)
    for photo in sorted(photos, key=lambda p: p.digest):
        total += packed_gram(network, photo.arrays["support"])
    for part in sorted(sums, key=lambda s: s.digests):
        total += part.gram
    return total
