"""Opening a model for use."""

from __future__ import annotations

import os
from pathlib import Path

from hmdrn_runtime.backends.selection import choose_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.errors import BundleError, CheckpointError
from hmdrn_runtime.gallery.file import load_gallery
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.recognizer import Recognizer

DEFAULT = "default"
_MODELS = Path(__file__).parent / "models"


def bundle_path(bundle: str | os.PathLike[str]) -> Path:
    """The folder of a bundle; "default" is the one that comes with the package."""
    return _MODELS / "default.hmdrn" if os.fspath(bundle) == DEFAULT else user_path(bundle, BundleError)


def checkpoint_path(checkpoint: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint; "default" is the package's own weights."""
    return (
        _MODELS / "default.safetensors"
        if os.fspath(checkpoint) == DEFAULT
        else user_path(checkpoint, CheckpointError)
    )


def load(
    bundle: str | os.PathLike[str] = DEFAULT,
    gallery: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    threads: int | None = None,
    keep_thumbnails: bool = False,
    variant: str | None = None,
    trust_engines: bool = False,
) -> Recognizer:
    """Open a bundle, and a gallery of species enrolled before.

    Args:
        bundle: Folder NAME.hmdrn, or "default" for the model that comes with the package.
        gallery: Gallery file to go on with; an empty gallery if None.
        backend: "auto", "tensorrt", "onnxruntime-cuda" or "onnxruntime" (on the CPU). "auto" takes the first
            of these that the machine has everything for; `Recognizer.backend_report` says why not others.
        threads: CPU threads for one call; all cores if None.
        keep_thumbnails: Whether the gallery keeps the photos that are enrolled from now on, small (21 KB
            each), so that it can be carried to another model.
        variant: Which of the bundle's graphs to run, e.g. "fp32"; the fastest for this machine if None.
        trust_engines: Whether TensorRT engines may run that were not built here by `hmdrn build`; an engine
            is native code.

    Returns:
        A recognizer, ready to enroll and classify.

    Raises:
        BundleError: The bundle is missing, damaged or changed.
        GalleryError: The gallery is missing, damaged, or was enrolled with another network.
        BackendError: The backend is unknown or not to be had on this machine.
    """
    checked = open_bundle(bundle_path(bundle), variant or "fp32")
    opened, executor = choose_backend(checked, backend, threads, variant, trust_engines)
    species = None if gallery is None else load_gallery(gallery)
    recognizer = Recognizer(opened, executor, species, keep_thumbnails)
    if gallery is not None:
        recognizer.keep_operators(gallery)
    return recognizer
