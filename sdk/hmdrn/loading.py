"""Open a model for use."""

from __future__ import annotations

import os
from pathlib import Path

from hmdrn_runtime.backends.selection import choose_backend
from hmdrn_runtime.backends.tensorrt.signature import TrustedKeys
from hmdrn_runtime.bundle.bundle import CHECKPOINT, open_bundle
from hmdrn_runtime.errors import BundleError, CheckpointError, GalleryError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.recognizer import Recognizer

DEFAULT = "default"
_MODELS = Path(__file__).parent / "models"


def resolve_bundle(bundle: str | os.PathLike[str]) -> Path:
    """Return the folder of a bundle; the text "default" is the one that comes with the package."""
    return _MODELS / "default.hmdrn" if _is_default(bundle) else expand_path(bundle, BundleError)


def resolve_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """Return the file of a checkpoint, or that in a bundle; the text "default" is the package's bundle."""
    if _is_default(checkpoint):
        return resolve_bundle(DEFAULT) / CHECKPOINT
    path = expand_path(checkpoint, CheckpointError)
    return path / CHECKPOINT if (path / CHECKPOINT).is_file() else path


def find_bundle(checkpoint: Path) -> Path | None:
    """Return the folder of the bundle that a checkpoint's file is part of; None if it is not."""
    inside = checkpoint.as_posix().endswith(f"/{CHECKPOINT}")
    return checkpoint.parents[CHECKPOINT.count("/")] if inside else None


def _is_default(path: object) -> bool:
    return isinstance(path, str) and path == DEFAULT


def load(
    bundle: str | os.PathLike[str] = DEFAULT,
    gallery: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    threads: int | None = None,
    keep_thumbnails: bool = False,
    variant: str | None = None,
    trust_engines: bool = False,
    follow: bool = False,
    keep_file_names: bool = True,
    trusted_keys: TrustedKeys | None = None,
) -> Recognizer:
    """Open a bundle, and a gallery of enrolled species.

    Args:
        bundle: Folder NAME.hmdrn, or "default" for the model that comes with the package.
        gallery: Gallery file to continue with; an empty gallery if None.
        backend: "auto", "tensorrt", "onnxruntime-cuda" or "onnxruntime" (on the CPU). "auto" chooses the
            first of these that the machine supports; `Recognizer.backend_report` says why it rejected others.
        threads: CPU threads for one call; all cores if None.
        keep_thumbnails: True to store thumbnails (small JPEGs) of the photos that are enrolled from now on,
            so that the gallery can be moved to another model.
        variant: The variant of the bundle's graphs, e.g. "fp32"; the fastest for this machine if None.
        trust_engines: True to run TensorRT engines that were not built here by `hmdrn build`; an engine is
            native code.
        follow: True to take over what other processes write to the gallery's file from now on, as
            `Recognizer.follow_gallery`.
        keep_file_names: True to store the base names of the photos' files in the gallery.
        trusted_keys: Files of public keys, as `hmdrn keygen` writes them: TensorRT engines that
            `hmdrn build --sign` signed with one of them on another device run here too. If None, the files
            that the environment variable HMDRN_TRUSTED_KEYS lists, as PATH lists folders.

    Returns:
        A recognizer, ready to enroll and classify.

    Raises:
        BundleError: The bundle is missing, damaged or changed.
        GalleryError: The gallery is missing, damaged, or was enrolled with another network.
        BackendError: The backend is unknown or not available on this machine.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> "Sooty Albatross" in birds.gallery.species
        True
    """
    if follow and gallery is None:
        raise GalleryError("there is no file to follow: give a gallery, or leave follow out")
    checked = open_bundle(resolve_bundle(bundle), "fp32" if variant is None else variant)
    opened, executor = choose_backend(checked, backend, threads, variant, trust_engines, trusted_keys)
    enrolled = None if gallery is None else load_gallery(gallery)
    recognizer = Recognizer(opened, executor, enrolled, keep_thumbnails, keep_file_names)
    if gallery is not None:
        recognizer.attach_operator_cache(gallery)
        if follow:
            recognizer.follow_gallery(gallery)
    return recognizer
