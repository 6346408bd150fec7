"""A gallery on disk: one safetensors file, replaced as a whole; the generation before is kept beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hmdrn_runtime.documents import Document, canonical_json
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.files import check_folder_of, reason, user_path, write_atomically
from hmdrn_runtime.gallery import Gallery, Species, clean_label
from hmdrn_runtime.kinds import kind_of
from hmdrn_runtime.manifest import Network, read_network
from hmdrn_runtime.statistics import Float32, PhotoStatistics, array_shapes

FORMAT_VERSION = 1
_METADATA = "hmdrn_gallery"


def previous_path(path: Path) -> Path:
    """Where the generation before the one at `path` is kept."""
    return path.with_name(path.name + ".previous")


def check_gallery_place(path: str | os.PathLike[str]) -> Path:
    """The path of a gallery to write, with `~` expanded; to be asked before the work that fills the gallery.

    Raises:
        GalleryError: It is a folder, or in a folder that does not exist.
    """
    path = user_path(path, GalleryError)
    if not path.name or path.is_dir():
        raise GalleryError(
            f"cannot write gallery {path}: it is {kind_of(path)}; give the path of a gallery file"
        )
    check_folder_of(path, "gallery", GalleryError)
    return path


def save_gallery(gallery: Gallery, path: str | os.PathLike[str]) -> None:
    """Write a gallery: after a power cut the file is the old one or the new one, never half of one.

    Args:
        gallery: What to write.
        path: The file; its former content is kept as `<path>.previous`, or as `<path>.damaged` where it
            is no gallery that can be read.

    Raises:
        GalleryError: The file cannot be written; what was there is untouched.
    """
    path = check_gallery_place(path)
    if path.is_symlink():
        path = path.resolve()  # the link stays a link
    generation, species = gallery.snapshot()
    photos = [photo for label in species for photo in _ordered(species[label])]
    # One array for all photos of the gallery: a safetensors header with thousands of names is slow to read.
    tensors: dict[str, npt.NDArray[Any]] = {
        name: np.stack([photo.arrays[name] for photo in photos])
        if photos
        else np.zeros((0, *shape), np.float32)
        for name, shape in array_shapes(gallery.network).items()
    }
    metadata = {
        "format_version": FORMAT_VERSION,
        "generation": generation,
        "network": asdict(gallery.network),
        "species": [
            {"label": s.label, "photos": [{"digest": p.digest, "variant": p.variant} for p in _ordered(s)]}
            for s in species.values()
        ],
    }
    metadata["sha256"] = _seal(metadata, tensors)
    data = save(tensors, {_METADATA: canonical_json(metadata)})
    try:
        if path.is_file() and path.read_bytes() == data:
            return  # nothing changed: the generation before must stay the one before
        write_atomically(path, data, before=lambda: _keep_previous(path))
    except OSError as error:
        kept = "; what was there before is untouched" if path.exists() else ""
        raise GalleryError(f"cannot write gallery {path}: {reason(error)}{kept}") from error


def load_gallery(path: str | os.PathLike[str]) -> Gallery:
    """Read a gallery.

    Args:
        path: The file.

    Raises:
        GalleryError: It is missing, no gallery, of another format version, or damaged; where an earlier
            generation lies beside it, the message says so.
    """
    path = user_path(path, GalleryError)
    if path.is_dir():
        raise GalleryError(f"{path} is {kind_of(path)}; give the path of a gallery file")
    if not path.is_file():
        raise GalleryError(f"no gallery at {path}: enroll species first, or check the path")
    try:
        return _read(path)
    except GalleryError as error:
        earlier = previous_path(path)
        hint = f"; the generation before it is in {earlier}" if earlier.is_file() else ""
        raise GalleryError(f"{error}{hint}") from error


def _read(path: Path) -> Gallery:
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
            if text is None:
                raise GalleryError(f"{path} is {kind_of(path) or 'a safetensors file'} but no gallery")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except PermissionError as error:
        raise GalleryError(f"cannot read gallery {path}: {reason(error)}") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        kind = kind_of(path)
        if kind in (None, "a gallery"):
            raise GalleryError(f"{path} is no gallery, or a damaged one") from error
        raise GalleryError(f"{path} is {kind} but no gallery; give the path of a gallery file") from error
    document = Document.parse(text, f"gallery {path}", GalleryError)
    version = document.get("format_version", int)
    if version != FORMAT_VERSION:
        raise GalleryError(
            f"gallery {path} has format version {version}, this SDK reads {FORMAT_VERSION}: update hmdrn"
        )
    values = {key: value for key, value in document.values.items() if key != "sha256"}
    if document.get("sha256", str) != _seal(values, tensors):
        raise GalleryError(f"gallery {path} is damaged: its SHA-256 does not match")
    network = read_network(document.child("network"))
    species = _species(document, network, tensors)
    return Gallery(network, species, document.get("generation", int))


def _species(
    document: Document, network: Network, tensors: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Species]:
    entries = document.items("species")
    count = sum(len(entry.get("photos", list)) for entry in entries)
    for name, shape in array_shapes(network).items():
        found = tensors.get(name)
        if found is None or found.shape != (count, *shape) or found.dtype != np.float32:
            raise GalleryError(
                f"{document.where} is damaged: no float32 array {name!r} of shape {(count, *shape)}"
            )
        if not np.isfinite(found).all():
            raise GalleryError(
                f"{document.where} is damaged: array {name!r} holds values that are not finite"
            )
    species: dict[str, Species] = {}
    row = 0
    for entry in entries:
        photos: dict[str, PhotoStatistics] = {}
        for photo in entry.items("photos"):
            arrays: dict[str, Float32] = {name: tensors[name][row] for name in array_shapes(network)}
            digest = photo.get("digest", str)
            photos[digest] = PhotoStatistics(digest, photo.get("variant", str), arrays)
            row += 1
        try:
            label = clean_label(entry.get("label", str))
        except EnrollmentError as error:
            raise GalleryError(f"{document.where} is damaged: {error}") from error
        if not photos or label in species:
            raise GalleryError(f"{document.where} is damaged: species {label!r} is empty or there twice")
        species[label] = Species(label, MappingProxyType(photos))
    return species


def _ordered(species: Species) -> list[PhotoStatistics]:
    return [species.photos[digest] for digest in sorted(species.photos)]


def _seal(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(canonical_json(metadata).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _keep_previous(path: Path) -> None:
    """Give the present file a second name, so that replacing it loses nothing."""
    if not path.exists():
        return
    try:
        _read(path)
        kept = previous_path(path)
    except GalleryError:
        # The generation before may be the only good one: a damaged file must not take its place.
        kept = path.with_name(path.name + ".damaged")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)  # file systems without hard links, such as FAT on memory cards
        temporary.replace(kept)
    finally:
        # Still there after an error, and where both names were of one file already.
        with contextlib.suppress(OSError):
            temporary.unlink()
