"""Solved operators in a file beside the gallery, so that a start does not solve them again.

Nothing depends on the file. A row counts where its SHA-256 is that of its species' statistics and its bytes,
and the whole file where it was solved by the same graph; what does not count is solved anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file_format import seal_of
from hmdrn_runtime.gallery.photo_statistics import Float32
from hmdrn_runtime.io.files import write_atomically
from hmdrn_runtime.io.json_document import JsonObject, canonical_json
from hmdrn_runtime.io.safetensors_header import check_header
from hmdrn_runtime.matching.index.projection import Basis

FORMAT_VERSION = 1
_METADATA = "hmdrn_operators"
_KEY = 32
_PART = 1024
_TYPES = {"float32": "F32", "float64": "F64", "uint8": "U8"}


def operators_path(gallery: Path) -> Path:
    """Where the operators of the gallery at a path are kept."""
    return gallery.with_name(gallery.name + ".operators")


@dataclass(frozen=True, eq=False)
class Solved:
    """The operators of a gallery, to be kept.

    Attributes:
        keys: What each depends on, 32 bytes, no two equal.
        rows: Rows from one number to another, float32 (n, W): operators, with a basis followed by what
            `large.Index.rows` has of it.
        basis: Of a gallery whose species are compared along few directions.
        fitted: Species that the gallery had when the basis was fitted.
    """

    keys: Sequence[bytes]
    rows: Callable[[int, int], Float32]
    basis: Basis | None = None
    fitted: int = 0

    def parts(self) -> Iterator[Float32]:
        """All rows, some at a time: the file may be larger than the memory."""
        for start in range(0, len(self.keys), _PART):
            yield np.ascontiguousarray(self.rows(start, min(start + _PART, len(self.keys))))


@dataclass(frozen=True, eq=False)
class Kept:
    """Operators as a file has them.

    Attributes:
        path: The file.
        rows: Numbers of its rows by key.
        digests: SHA-256 of key and row, uint8 (N, 32).
        width: Numbers of a row.
        start: Where the rows begin, in bytes.
        basis: As in `Solved`.
        fitted: As in `Solved`.
    """

    path: Path
    rows: Mapping[bytes, int]
    digests: npt.NDArray[np.uint8]
    width: int
    start: int
    basis: Basis | None
    fitted: int

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Float32]:
        """The rows (W,) of those species that are there and undamaged, by key."""
        found: dict[bytes, Float32] = {}
        size = 4 * self.width
        # Where another process has replaced the file meanwhile, no digest fits.
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            for key in keys:
                if (row := self.rows.get(key)) is not None:
                    file.seek(self.start + row * size)
                    data = file.read(size)
                    if _digest(key, data) == self.digests[row].tobytes():
                        found[key] = np.frombuffer(data, np.float32)
        return found


def write_operators(path: Path, origin: str, solved: Solved) -> None:
    """Replace the file of operators.

    Args:
        path: The file.
        origin: What solved them.
        solved: The operators.

    Raises:
        OSError: It cannot be written; what was there is untouched.
    """
    digests, keys, width = [], iter(solved.keys), 0
    for part in solved.parts():
        width = part.shape[1]
        digests += [_digest(key, row.data) for row, key in zip(part, keys, strict=False)]
    tensors: dict[str, npt.NDArray[Any]] = {"keys": _bytes(solved.keys), "digests": _bytes(digests)}
    metadata = {"format_version": FORMAT_VERSION, "origin": origin, "rows": [len(digests), width]}
    if solved.basis is not None:
        basis = solved.basis
        tensors |= {"operator_mean": basis.operator, "gram_mean": basis.gram, "axes": basis.axes}
        metadata |= {"skew": basis.skew, "fitted": solved.fitted}
    metadata["sha256"] = seal_of(metadata, tensors)

    def pieces() -> Iterator[bytes | memoryview]:
        yield _header(canonical_json(metadata), tensors, (len(digests), width))
        yield from (np.ascontiguousarray(array).data for array in tensors.values())
        yield from (part.data for part in solved.parts())

    write_atomically(path, pieces())


def open_operators(path: Path, origin: str, packed: int) -> Kept | None:
    """What a file of operators has; None without one, of another origin, or where it is damaged.

    Args:
        path: The file.
        origin: What would solve them anew.
        packed: Numbers of an operator.
    """
    try:
        check_header(path, "file of operators", GalleryError)
        with safe_open(path, framework="numpy") as file:
            document = JsonObject.parse((file.metadata() or {}).get(_METADATA, ""), str(path), GalleryError)
            names = [name for name in file.keys() if name != "rows"]  # noqa: SIM118 (no mapping)
            tensors = {name: file.get_tensor(name) for name in names}
            shape = file.get_slice("rows").get_shape()
        values = {key: value for key, value in document.values.items() if key != "sha256"}
        if (
            document.get("sha256", str) != seal_of(values, tensors)
            or document.get("format_version", int) != FORMAT_VERSION
            or document.get("origin", str) != origin
            or document.get("rows", list) != shape
        ):
            return None
        basis = None
        if "axes" in tensors:
            means = (tensors["operator_mean"], tensors["gram_mean"])
            basis = Basis(tensors["axes"], *means, document.get("skew", float))
        count, width = shape
        if width != packed + (0 if basis is None else len(basis.axes) + 3):
            return None
        rows = {key.tobytes(): row for row, key in enumerate(tensors["keys"])}
        start = path.stat().st_size - 4 * count * width
        fitted = 0 if basis is None else document.get("fitted", int)
        return Kept(path, rows, tensors["digests"], width, start, basis, fitted)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, GalleryError):
        return None


def _header(text: str, tensors: Mapping[str, npt.NDArray[Any]], rows: tuple[int, int]) -> bytes:
    """The beginning of a safetensors file, whose library wants all of it in memory; the rows come last."""
    header: dict[str, Any] = {"__metadata__": {_METADATA: text}}
    shapes = {name: (array.dtype.name, array.shape) for name, array in tensors.items()}
    end = 0
    for name, (dtype, shape) in {**shapes, "rows": ("float32", rows)}.items():
        begin, end = end, end + int(np.prod(shape)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": _TYPES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def _bytes(values: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, _KEY)


def _digest(key: bytes, row: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(row)
    return digest.digest()
