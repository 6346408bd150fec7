"""Statistics of photos, kept in a folder between runs of benchmarks: galleries are then cheap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from hmdrn.open_set import compute_photo_statistics
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

Photos = Mapping[str, Sequence[PhotoStatistics]]
"""Photos by species."""

cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps the photos' statistics between runs.",
)


def load_statistics(
    recognizer: Recognizer,
    path: Path,
    split: str,
    limit: int | None,
    report: ProgressCallback,
    folder: Path | None,
) -> Photos:
    """Return the statistics of a data set's photos, as `compute_photo_statistics` computes them."""

    def compute() -> Photos:
        return compute_photo_statistics(recognizer, open_dataset(path, split).classes, limit, report)

    return keep_statistics(recognizer, folder, f"{path.stem}-{split}-{limit or 'all'}", compute)


def keep_statistics(
    recognizer: Recognizer, folder: Path | None, name: str, compute: Callable[[], Photos]
) -> Photos:
    """Return statistics from the file of a name in `folder`, computed and written if it is missing.

    The file's name also says which network and variant computed them; without a folder nothing is kept.
    """
    if folder is None:
        return compute()
    fingerprint = recognizer.bundle.manifest.network.fingerprint[:12]
    file = folder / f"{name}-{recognizer.bundle.variant}-{fingerprint}.npz"
    if not file.exists():
        _write(file, compute())
    return _read(file, recognizer.bundle.variant)


def _write(file: Path, photos: Photos) -> None:
    members = [photo for group in photos.values() for photo in group]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as stream:
        np.savez(
            stream,
            labels=np.array([label for label, group in photos.items() for _ in group]),
            digests=np.array([photo.digest for photo in members]),
            sketches=np.stack([np.frombuffer(photo.sketch, np.uint8) for photo in members]),
            support=np.stack([photo.arrays["support"] for photo in members]),
            query=np.stack([photo.arrays["query"] for photo in members]),
        )
    partial.replace(file)


def _read(file: Path, variant: str) -> Photos:
    photos: dict[str, list[PhotoStatistics]] = {}
    with np.load(file) as stored:
        columns = (stored[name] for name in ("labels", "digests", "support", "query", "sketches"))
        for label, digest, support, query, sketch in zip(*columns, strict=True):
            arrays = {"support": support, "query": query}
            photo = PhotoStatistics(str(digest), variant, arrays, sketch=sketch.tobytes())
            photos.setdefault(str(label), []).append(photo)
    return photos
