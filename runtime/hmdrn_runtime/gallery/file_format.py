"""The bytes of a gallery's file: one safetensors file whose metadata tell what its arrays are of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hmdrn_runtime.bundle.manifest import Network, read_network
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.gallery import Gallery, Species, State
from hmdrn_runtime.gallery.history import Change
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.gallery.photo_statistics import ClassSum, PhotoStatistics, array_shapes
from hmdrn_runtime.images.preprocessing import INPUT_SIZE
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import reason
from hmdrn_runtime.io.json_document import JsonObject, canonical_json
from hmdrn_runtime.io.safetensors_header import check_header, header_bytes, most_header

FORMAT_VERSION = 2
"""What is written. Version 1, without history, calibration, thumbnails and sums, is read too."""
_OLDEST = 1
_METADATA = "hmdrn_gallery"
_MAX_HEADER = 100_000_000  # what safetensors reads
_MAX_ARRAYS = 16
_THUMBNAIL = (INPUT_SIZE, INPUT_SIZE, 3)

_Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Glance:
    """What a look at the beginning of a gallery's file tells: its format version and its SHA-256."""

    version: int
    seal: str


def encode(network: Network, state: State) -> tuple[bytes, str]:
    """The file of a gallery, and its seal; of equal states the same bytes.

    Raises:
        GalleryError: There are more photos than a file can hold.
    """
    photos = [photo for s in state.species.values() for photo in _sorted(s)]
    # One array for all photos of the gallery: a safetensors header with thousands of names is slow to read.
    tensors = {
        name: _stacked([p.arrays[name] for p in photos], shape, np.float32)
        for name, shape in array_shapes(network).items()
    }
    thumbnails = [np.frombuffer(p.thumbnail, np.uint8) for p in photos if p.thumbnail is not None]
    if thumbnails:
        tensors["thumbnails"] = np.stack(thumbnails).reshape(-1, *_THUMBNAIL)
    sums = [part.gram for s in state.species.values() for part in s.sums]
    if sums:
        tensors["sums"] = np.stack(sums)
    metadata = {
        "format_version": FORMAT_VERSION,
        "generation": state.generation,
        "network": asdict(network),
        "species": [_entry(s) for s in state.species.values()],
        "history": [asdict(change) for change in state.history],
        "calibration": None if state.calibration is None else dict(state.calibration),
    }
    metadata["sha256"] = seal = seal_of(metadata, tensors)
    data = save(tensors, {_METADATA: canonical_json(metadata)})
    length = header_bytes(data)
    if length > min(most_header(len(data) - length), _MAX_HEADER):
        raise GalleryError(
            f"a gallery of {len(photos)} photos is more than a file can hold: compact it, or "
            "keep its species in several galleries"
        )
    return data, seal


def decode(path: Path) -> tuple[Gallery, str]:
    """Read the file of a gallery, and its seal.

    Raises:
        GalleryError: No gallery, a damaged one, or one of another format version.
    """
    text, tensors = _opened(path)
    document = JsonObject.parse(text, f"gallery {path}", GalleryError)
    version = document.get("format_version", int)
    if not _OLDEST <= version <= FORMAT_VERSION:
        raise GalleryError(
            f"gallery {path} has format version {version}, this SDK reads {FORMAT_VERSION}: update hmdrn"
        )
    seal = document.get("sha256", str)
    if seal != _digest(text.replace(f'\n  "sha256": "{seal}",\n', "\n"), tensors):
        raise GalleryError(f"gallery {path} is damaged: its SHA-256 does not match")
    network = read_network(document.child("network"))
    species = _species(document, network, tensors)
    generation = document.get("generation", int)
    if version == 1:
        return Gallery(network, species, generation), seal
    calibration = None
    if document.values.get("calibration") is not None:
        calibration = document.get("calibration", dict)
    return Gallery(network, species, generation, tuple(_history(document)), calibration), seal


def glance(path: Path) -> Glance | None:
    """Look at the beginning of a file; None if it is that of no gallery."""
    try:
        check_header(path, "gallery", GalleryError)
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
        document = JsonObject.parse(text or "", str(path), GalleryError)
        return Glance(document.get("format_version", int), document.get("sha256", str))
    except (SafetensorError, OSError, ValueError, TypeError, GalleryError):
        return None


def _opened(path: Path) -> tuple[str, _Tensors]:
    """The metadata and the arrays of a gallery's file, neither of them checked yet."""
    try:
        check_header(path, "gallery", GalleryError)
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
            if text is None:
                raise GalleryError(
                    f"{path} is {detect_file_kind(path) or 'a safetensors file'} but no gallery"
                )
            names = file.keys()
            if len(names) > _MAX_ARRAYS:
                raise GalleryError(f"gallery {path} is damaged: {len(names)} arrays, over {_MAX_ARRAYS}")
            tensors = {name: file.get_tensor(name) for name in names}
    except PermissionError as error:
        raise GalleryError(f"cannot read gallery {path}: {reason(error)}") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        kind = detect_file_kind(path)
        if kind in (None, "a gallery"):
            raise GalleryError(f"{path} is no gallery, or a damaged one") from error
        raise GalleryError(f"{path} is {kind} but no gallery; give the path of a gallery file") from error
    return text, tensors


def _entry(species: Species) -> dict[str, Any]:
    photos = [
        {"digest": p.digest, "variant": p.variant, **({"thumbnail": True} if p.thumbnail else {})}
        for p in _sorted(species)
    ]
    sums = [{"digests": part.digests, "variant": part.variant} for part in species.sums]
    return {"label": species.label, "photos": photos, **({"sums": sums} if sums else {})}


def _species(document: JsonObject, network: Network, tensors: _Tensors) -> dict[str, Species]:
    # Whatever a species is made of has a row in an array: to count first is to make no more than fits.
    if len(document.get("species", list)) > sum(array.size for array in tensors.values()):
        raise GalleryError(f"{document.where} is damaged: it has more species than its arrays are of")
    entries = list(document.items("species"))
    count = sum(len(entry.get("photos", list)) for entry in entries)
    rows = {
        name: _checked(document, tensors, name, (count, *shape), np.float32)
        for name, shape in array_shapes(network).items()
    }
    thumbnails, sums = (_rows(document, tensors, *of) for of in _optional(entries, network))
    species: dict[str, Species] = {}
    row = 0
    for entry in entries:
        photos: dict[str, PhotoStatistics] = {}
        for photo in entry.items("photos"):
            digest = photo.get("digest", str)
            thumbnail = next(thumbnails).tobytes() if "thumbnail" in photo.values else None
            if thumbnail is not None and hashlib.sha256(thumbnail).hexdigest() != digest:
                raise GalleryError(f"{photo.where} is damaged: its thumbnail is of another photo")
            arrays = {name: array[row] for name, array in rows.items()}
            photos[digest] = PhotoStatistics(digest, photo.get("variant", str), arrays, thumbnail)
            row += 1
        parts = tuple(
            ClassSum(part.sequence("digests", str), part.get("variant", str), next(sums))
            for part in (entry.items("sums") if "sums" in entry.values else ())
        )
        try:
            label = clean_label(entry.get("label", str))
        except EnrollmentError as error:
            raise GalleryError(f"{document.where} is damaged: {error}") from error
        if not (photos or parts) or label in species:
            raise GalleryError(f"{document.where} is damaged: species {label!r} is empty or there twice")
        species[label] = Species(label, MappingProxyType(photos), parts)
    return species


def _optional(
    entries: list[JsonObject], network: Network
) -> list[tuple[str, int, tuple[int, ...], type[np.generic]]]:
    """Name, rows, shape of a row and type of the arrays that are there only where they are needed."""
    thumbnails = sum("thumbnail" in p.values for entry in entries for p in entry.items("photos"))
    sums = sum(len(entry.get("sums", list)) for entry in entries if "sums" in entry.values)
    return [("thumbnails", thumbnails, _THUMBNAIL, np.uint8), ("sums", sums, (network.packed,), np.float32)]


def _rows(
    document: JsonObject,
    tensors: _Tensors,
    name: str,
    count: int,
    shape: tuple[int, ...],
    dtype: type[np.generic],
) -> Iterator[npt.NDArray[Any]]:
    return iter(_checked(document, tensors, name, (count, *shape), dtype) if count else ())


def _checked(
    document: JsonObject, tensors: _Tensors, name: str, shape: tuple[int, ...], dtype: type[np.generic]
) -> npt.NDArray[Any]:
    found = tensors.get(name)
    if found is None or found.shape != shape or found.dtype != dtype:
        raise GalleryError(
            f"{document.where} is damaged: no {dtype.__name__} array {name!r} of shape {shape}"
        )
    if not np.isfinite(found).all():
        raise GalleryError(f"{document.where} is damaged: array {name!r} holds values that are not finite")
    return found


def _history(document: JsonObject) -> Iterator[Change]:
    for entry in document.items("history"):
        label = None if entry.values.get("label") is None else entry.get("label", str)
        yield Change(entry.get("generation", int), entry.get("what", str), label, entry.get("when", str))


def _stacked(
    rows: list[npt.NDArray[Any]], shape: tuple[int, ...], dtype: type[np.generic]
) -> npt.NDArray[Any]:
    return np.stack(rows) if rows else np.zeros((0, *shape), dtype)


def _sorted(species: Species) -> list[PhotoStatistics]:
    return [species.photos[digest] for digest in sorted(species.photos)]


def seal_of(metadata: Mapping[str, Any], tensors: _Tensors) -> str:
    """SHA-256 of metadata, and of tensors with their names, types and shapes."""
    return _digest(canonical_json(metadata), tensors)


def _digest(text: str, tensors: _Tensors) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()
