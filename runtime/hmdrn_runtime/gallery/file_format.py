"""The format of a gallery's file: safetensors arrays, described by the file's metadata."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hmdrn_runtime.bundle.manifest import Network, read_network
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.history import Change
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.gallery.photo_record import MAX_TEXT, PhotoRecord
from hmdrn_runtime.gallery.photo_statistics import ClassSum, PhotoStatistics, array_shapes
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.gallery.state import GalleryState
from hmdrn_runtime.images.quality import SKETCH_SIDE
from hmdrn_runtime.images.thumbnail import MAX_BYTES
from hmdrn_runtime.io.file_kinds import detect_file_kind
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.io.json_document import JsonObject, canonical_json
from hmdrn_runtime.io.safetensors_header import check_header_size, max_header_size, read_header_size

FORMAT_VERSION = 2
_METADATA = "hmdrn_gallery"
_MAX_HEADER = 100_000_000  # safetensors' own limit, bytes
_MAX_ARRAYS = 16
_RECORD = tuple(field.name for field in fields(PhotoRecord))

_Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class FileHeader:
    """Format version and SHA-256 in the header of a gallery's file."""

    version: int
    checksum: str


def encode(network: Network, state: GalleryState) -> tuple[bytes, str]:
    """Return the bytes of a gallery's file and its checksum; equal states give equal bytes.

    Raises:
        GalleryError: There are more photos than a file can hold.
    """
    photos = [photo for s in state.species.values() for photo in _sorted(s)]
    # One array for all photos of the gallery: a safetensors header with thousands of names is slow to read.
    tensors: dict[str, npt.NDArray[Any]] = {
        name: np.stack([p.arrays[name] for p in photos]) if photos else np.zeros((0, *shape), np.float32)
        for name, shape in array_shapes(network).items()
    }
    if photos:
        sketches = b"".join(p.sketch or bytes(SKETCH_SIDE**2) for p in photos)
        tensors["sketches"] = np.frombuffer(sketches, np.uint8).reshape(len(photos), -1)
    thumbnails = b"".join(p.thumbnail or b"" for p in photos)
    if thumbnails:
        tensors["thumbnails"] = np.frombuffer(thumbnails, np.uint8)
    sums = [part.gram for s in state.species.values() for part in s.sums]
    if sums:
        tensors["sums"] = np.stack(sums)
    metadata = {
        "format_version": FORMAT_VERSION,
        "generation": state.generation,
        "network": asdict(network),
        "species": [_encode_species(s) for s in state.species.values()],
        "history": [asdict(change) for change in state.history],
        "calibration": None if state.calibration is None else dict(state.calibration),
    }
    metadata["sha256"] = checksum = compute_checksum(metadata, tensors)
    data = save(tensors, {_METADATA: canonical_json(metadata)})
    length = read_header_size(data)
    if length > min(max_header_size(len(data) - length), _MAX_HEADER):
        raise GalleryError(
            f"a gallery of {len(photos)} photos is more than a file can hold: compact it, or "
            "keep its species in several galleries"
        )
    return data, checksum


def decode(path: Path) -> tuple[Gallery, str]:
    """Read the file of a gallery, and its checksum.

    Raises:
        GalleryError: It is not a gallery, damaged, or of another format version.
    """
    text, tensors = _read_file(path)
    document = JsonObject.parse(text, f"gallery {path}", GalleryError)
    version = document.get("format_version", int)
    if version != FORMAT_VERSION:
        raise GalleryError(
            f"gallery {path} has format version {version}, this hmdrn reads {FORMAT_VERSION}: update hmdrn"
        )
    checksum = document.get("sha256", str)
    if checksum != _digest(text.replace(f'\n  "sha256": "{checksum}",\n', "\n"), tensors):
        raise GalleryError(f"gallery {path} is damaged: its SHA-256 does not match")
    network = read_network(document.child("network"))
    species = _decode_species(document, network, tensors)
    calibration = document.values.get("calibration")
    if calibration is not None:
        calibration = document.get("calibration", dict)
    history = tuple(_decode_history(document))
    return Gallery(network, species, document.get("generation", int), history, calibration), checksum


def read_header(path: Path) -> FileHeader | None:
    """Read the header of a file; None if it is not that of a gallery."""
    try:
        check_header_size(path, "gallery", GalleryError)
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
        document = JsonObject.parse(text or "", str(path), GalleryError)
        return FileHeader(document.get("format_version", int), document.get("sha256", str))
    except (SafetensorError, OSError, ValueError, TypeError, GalleryError):
        return None


def _read_file(path: Path) -> tuple[str, _Tensors]:
    """Read the metadata and the arrays of a gallery's file, both unchecked."""
    try:
        check_header_size(path, "gallery", GalleryError)
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
            if text is None:
                raise GalleryError(
                    f"{path} is {detect_file_kind(path) or 'a safetensors file'}, not a gallery"
                )
            names = file.keys()
            if len(names) > _MAX_ARRAYS:
                raise GalleryError(f"gallery {path} is damaged: {len(names)} arrays, over {_MAX_ARRAYS}")
            tensors = {name: file.get_tensor(name) for name in names}
    except PermissionError as error:
        raise GalleryError(f"cannot read gallery {path}: {describe_os_error(error)}") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        kind = detect_file_kind(path)
        if kind in (None, "a gallery"):
            raise GalleryError(f"{path} is not a gallery, or a damaged one") from error
        raise GalleryError(f"{path} is {kind}, not a gallery; give the path of a gallery file") from error
    return text, tensors


def _encode_species(species: Species) -> dict[str, Any]:
    photos = [
        {
            "digest": p.digest,
            "variant": p.variant,
            **({"thumbnail": len(p.thumbnail)} if p.thumbnail else {}),
            **{key: text for key, text in asdict(p.record).items() if text},
        }
        for p in _sorted(species)
    ]
    sums = [{"digests": part.digests, "variant": part.variant} for part in species.sums]
    return {"label": species.label, "photos": photos, **({"sums": sums} if sums else {})}


def _decode_species(document: JsonObject, network: Network, tensors: _Tensors) -> dict[str, Species]:
    # Each species has at least one row in an array: this limits the objects made of a hostile file.
    if len(document.get("species", list)) > sum(array.size for array in tensors.values()):
        raise GalleryError(f"{document.where} is damaged: it has more species than rows in its arrays")

    def rows(name: str, count: int, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
        """Return an array of the file, checked; one without rows may be missing."""
        shape = (count, *shape)
        array = np.empty(shape, dtype) if not count and name not in tensors else tensors.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            message = f"{document.where} is damaged: no {dtype.__name__} array {name!r} of shape {shape}"
            raise GalleryError(message)
        if not np.isfinite(array).all():
            raise GalleryError(f"{document.where} is damaged: array {name!r} has values that are not finite")
        return array

    entries = list(document.objects("species"))
    count = sum(len(entry.get("photos", list)) for entry in entries)
    arrays = {name: rows(name, count, shape, np.float32) for name, shape in array_shapes(network).items()}
    members = [
        (list(entry.objects("photos")), list(entry.objects("sums")) if "sums" in entry.values else [])
        for entry in entries
    ]
    # A gallery that was written without them works: only copies are then harder to see.
    sketches = rows("sketches", count if "sketches" in tensors else 0, (SKETCH_SIDE**2,), np.uint8)
    lengths = [_decode_length(photo) for photos, _ in members for photo in photos]
    thumbnails = rows("thumbnails", sum(lengths), (), np.uint8).tobytes()
    ends = list(itertools.accumulate(lengths))
    sums = iter(rows("sums", sum(len(parts) for _, parts in members), (network.packed,), np.float32))
    species: dict[str, Species] = {}
    row = itertools.count()
    for entry, (photos, parts) in zip(entries, members, strict=True):
        statistics: dict[str, PhotoStatistics] = {}
        for photo in photos:
            digest = photo.get("digest", str)
            i = next(row)
            thumbnail = thumbnails[ends[i] - lengths[i] : ends[i]] or None
            values = {name: array[i] for name, array in arrays.items()}
            sketch = sketches[i].tobytes() if len(sketches) else b""
            record = PhotoRecord(**{key: _decode_text(photo, key) for key in _RECORD})
            variant = photo.get("variant", str)
            statistics[digest] = PhotoStatistics(digest, variant, values, thumbnail, sketch, record)
        class_sums = tuple(
            ClassSum(part.sequence("digests", str), part.get("variant", str), next(sums)) for part in parts
        )
        try:
            label = clean_label(entry.get("label", str))
        except EnrollmentError as error:
            raise GalleryError(f"{document.where} is damaged: {error}") from error
        if not (photos or parts) or label in species:
            raise GalleryError(f"{document.where} is damaged: species {label!r} is empty or there twice")
        species[label] = Species(label, MappingProxyType(statistics), class_sums)
    return species


def _decode_length(photo: JsonObject) -> int:
    """Return the bytes of a photo's thumbnail; 0 without one."""
    length = photo.get("thumbnail", int) if "thumbnail" in photo.values else 0
    if not 0 <= length <= MAX_BYTES:
        raise GalleryError(f"{photo.where} is damaged: a thumbnail of {length} bytes")
    return length


def _decode_text(photo: JsonObject, key: str) -> str:
    text = photo.get(key, str) if key in photo.values else ""
    if len(text) > MAX_TEXT:
        raise GalleryError(f"{photo.where} is damaged: {key!r} has over {MAX_TEXT} characters")
    return text


def _decode_history(document: JsonObject) -> Iterator[Change]:
    for entry in document.objects("history"):
        label = None if entry.values.get("label") is None else entry.get("label", str)
        yield Change(entry.get("generation", int), entry.get("what", str), label, entry.get("when", str))


def _sorted(species: Species) -> list[PhotoStatistics]:
    return [species.photos[digest] for digest in sorted(species.photos)]


def compute_checksum(metadata: Mapping[str, Any], tensors: _Tensors) -> str:
    """Return the SHA-256 of metadata, and of tensors with their names, types and shapes."""
    return _digest(canonical_json(metadata), tensors)


def _digest(text: str, tensors: _Tensors) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()
