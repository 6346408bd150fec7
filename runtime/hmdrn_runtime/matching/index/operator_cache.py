"""Solved operators in a file beside the gallery, so that a start need not solve them again.

The file is optional. A row is valid if its SHA-256 is that of its species' statistics and its bytes, and the
file if its origin is the same, i.e. it was solved by the same graph; everything else is solved again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file_format import compute_checksum
from hmdrn_runtime.gallery.photo_statistics import Float32
from hmdrn_runtime.io.files import write_atomically
from hmdrn_runtime.io.json_document import JsonObject, canonical_json
from hmdrn_runtime.io.safetensors_header import check_header_size

FORMAT_VERSION = 1
MIN_SECONDS = 0.5
"""Seconds of solving from which on operators are worth writing."""
_SUFFIX = ".operators"
_METADATA = "hmdrn_operators"
_KEY = 32
_PART = 1024
_TYPES = {"float32": "F32", "float64": "F64", "uint8": "U8"}


def operator_cache_path(gallery: Path) -> Path:
    """Return the path of a gallery's operator file."""
    return gallery.with_name(gallery.name + _SUFFIX)


@dataclass(frozen=True, eq=False)
class SolvedOperators:
    """The operators of a gallery, ready to be written.

    Attributes:
        keys: Key of each operator, 32 bytes, no two equal.
        rows: Returns operators from one number to another, float32 (n, P).
    """

    keys: Sequence[bytes]
    rows: Callable[[int, int], Float32]

    def parts(self) -> Iterator[Float32]:
        """Yield all rows in parts: the file may be larger than the memory."""
        for start in range(0, len(self.keys), _PART):
            yield np.ascontiguousarray(self.rows(start, min(start + _PART, len(self.keys))))


@dataclass(frozen=True, eq=False)
class CachedOperators:
    """The operators in a file.

    Attributes:
        path: The file.
        rows: Row numbers by key.
        digests: SHA-256 of key and row, uint8 (N, 32).
        width: Numbers per row, P.
        start: Byte offset of the first row.
    """

    path: Path
    rows: Mapping[bytes, int]
    digests: npt.NDArray[np.uint8]
    width: int
    start: int

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Float32]:
        """Return the rows (P,) of the keys that are there and undamaged."""
        valid: dict[bytes, Float32] = {}
        size = 4 * self.width
        # If another process has replaced the file meanwhile, no digest matches.
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            for key in keys:
                if (row := self.rows.get(key)) is not None:
                    file.seek(self.start + row * size)
                    data = file.read(size)
                    if _digest(key, data) == self.digests[row].tobytes():
                        valid[key] = np.frombuffer(data, np.float32)
        return valid


def write_operators(path: Path, origin: str, solved: SolvedOperators) -> None:
    """Replace the file of operators; after an OSError the file stays as it was."""
    digests, keys, width = [], iter(solved.keys), 0
    for part in solved.parts():
        width = part.shape[1]
        digests += [_digest(key, row.data) for row, key in zip(part, keys, strict=False)]
    tensors: dict[str, npt.NDArray[Any]] = {"keys": _bytes(solved.keys), "digests": _bytes(digests)}
    metadata = {"format_version": FORMAT_VERSION, "origin": origin, "rows": [len(digests), width]}
    metadata["sha256"] = compute_checksum(metadata, tensors)

    def pieces() -> Iterator[bytes | memoryview]:
        yield _header(canonical_json(metadata), tensors, (len(digests), width))
        yield from (np.ascontiguousarray(array).data for array in tensors.values())
        yield from (part.data for part in solved.parts())

    write_atomically(path, pieces(), like=path.with_name(path.name.removesuffix(_SUFFIX)))


def read_operators(path: Path, origin: str, packed: int) -> CachedOperators | None:
    """Open a file of operators of P = `packed` numbers; None if missing, damaged, or of another origin."""
    try:
        check_header_size(path, "file of operators", GalleryError)
        with safe_open(path, framework="numpy") as file:
            document = JsonObject.parse((file.metadata() or {}).get(_METADATA, ""), str(path), GalleryError)
            names = [name for name in file.keys() if name != "rows"]  # noqa: SIM118 (no mapping)
            tensors = {name: file.get_tensor(name) for name in names}
            shape = file.get_slice("rows").get_shape()
        values = {key: value for key, value in document.values.items() if key != "sha256"}
        if (
            document.get("sha256", str) != compute_checksum(values, tensors)
            or document.get("format_version", int) != FORMAT_VERSION
            or document.get("origin", str) != origin
            or document.get("rows", list) != shape
        ):
            return None
        count, width = shape
        if width != packed:
            return None
        rows = {key.tobytes(): row for row, key in enumerate(tensors["keys"])}
        start = path.stat().st_size - 4 * count * width
        return CachedOperators(path, rows, tensors["digests"], width, start)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, GalleryError):
        return None


class OperatorCacheWriter:
    """Caches the operators of one matcher. Any thread may call `store`; the rest is not thread-safe.

    Attributes:
        cached: The file's operators, until the matcher's first operators are complete.
    """

    def __init__(self) -> None:
        self.cached: CachedOperators | None = None
        self._target: tuple[Path, str] | None = None
        self._seconds = 0.0

    def open(self, path: Path, origin: str, packed: int) -> None:
        """Open a file before the first solve; see `read_operators`."""
        self._target, self.cached = (path, origin), read_operators(path, origin, packed)

    def finish_first(self, solved: Callable[[], SolvedOperators]) -> None:
        """Store the first operators since `open`; does nothing for later ones."""
        if self._target is not None:
            (path, origin), self._target, self.cached = self._target, None, None
            self.store(path, origin, solved())

    def store(self, path: Path, origin: str, solved: SolvedOperators) -> None:
        """Write operators if over half a second of solving is not in the file yet; ignores write errors."""
        if solved.keys and self._seconds >= MIN_SECONDS:
            self._seconds = 0.0
            with contextlib.suppress(OSError):
                write_operators(path, origin, solved)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of the solves within the block."""
        start = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - start


def _header(text: str, tensors: Mapping[str, npt.NDArray[Any]], rows: tuple[int, int]) -> bytes:
    """Return the header of a safetensors file; the library itself would need all rows in memory."""
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
