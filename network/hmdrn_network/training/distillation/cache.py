"""Caches of one data set: decoded photos, maps of the frozen stages, and features of a teacher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from PIL.Image import Resampling

from hmdrn_network.backbones.pretrained import load_pretrained
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.training.augmentation import augment
from hmdrn_network.training.distillation.array_files import fill_array
from hmdrn_network.training.distillation.onnx_runners import FrozenPrefix, OnnxModule
from hmdrn_network.training.distillation.teachers import Teacher
from hmdrn_network.training.photos import decoded_side
from hmdrn_runtime.datasets.dataset import Dataset, Photo
from hmdrn_runtime.errors import DatasetError, ImageError, TrainingError
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.progress import ProgressCallback

_Compute = Callable[[slice], npt.NDArray[Any]]


@dataclass(frozen=True)
class PhotoSet:
    """Decoded photos of one split of a data set.

    Attributes:
        name: Name of the data set.
        pixels: RGB uint8 (N, S, S, 3).
        labels: Names of the classes.
        targets: Class of each photo, (N,).
        key: Identifies the photos.
        sources: The photos, not decoded.
        unreadable: A message for each photo that cannot be read and is left out.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    labels: tuple[str, ...]
    targets: npt.NDArray[np.int64]
    key: str
    sources: tuple[Photo, ...]
    unreadable: tuple[str, ...] = ()


def decode_photos(
    dataset: Dataset, name: str, folder: Path, side: int, training: bool, report: ProgressCallback
) -> PhotoSet:
    """Decode the photos of a data set for a network of input `side`.

    Photos to train on keep a margin for crops to vary; those to validate on are prepared as a device
    prepares them ("crop"). Photos that cannot be read are left out.

    Raises:
        TrainingError: The cache cannot be written.
    """
    stored = decoded_side(side) if training else side
    split = "train" if training else "val"
    key = f"{dataset.digest()} {split} {stored}"
    unreadable = _find_unreadable(dataset, folder / f"{name}-{split}-unreadable.json", key, report)
    readable = {
        label: [photo for photo in members if photo.name not in unreadable]
        for label, members in dataset.classes.items()
    }
    classes = {label: members for label, members in readable.items() if members}
    photos: list[Photo] = [photo for members in classes.values() for photo in members]
    targets = np.repeat(np.arange(len(classes)), [len(m) for m in classes.values()])

    def decode(rows: slice) -> npt.NDArray[np.uint8]:
        if training:
            return load_squares(photos[rows], stored)
        return np.stack([photo.prepare(Preprocessing("crop", side)) for photo in photos[rows]])

    shape = (len(photos), stored, stored, 3)
    pixels = fill_array(folder / f"{name}-{split}-photos.npy", shape, np.uint8, key, decode, report)
    return PhotoSet(name, pixels, tuple(classes), targets, key, tuple(photos), tuple(unreadable.values()))


def _find_unreadable(dataset: Dataset, path: Path, key: str, report: ProgressCallback) -> dict[str, str]:
    """Return a message for each photo that cannot be read by its name; found once for a key, and stored."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        if stored["key"] == key:
            return dict(stored["unreadable"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: found again
    unreadable: dict[str, str] = {}
    for done, photo in enumerate(photo for members in dataset.classes.values() for photo in members):
        report("checking photos", done, len(dataset))
        try:
            photo.load()
        except (ImageError, DatasetError) as error:
            unreadable[photo.name] = str(error)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"key": key, "unreadable": unreadable}).encode())
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {describe_os_error(error)}") from error
    return unreadable


class PrefixMaps:
    """The first stages of a pretrained backbone, run on augmented views and cached in half precision.

    Args:
        backbone: Name of the backbone.
        side: Side of its input in pixels.
        stop: Number of frozen stages.
        threads: Threads to run them with.
    """

    def __init__(self, backbone: str, side: int, stop: int, threads: int) -> None:
        spec = BACKBONES[backbone]
        network = spec.build(side)
        load_pretrained(network, spec)
        self.side = side
        self._key = f"{backbone} {side} {stop} {spec.pretrained.sha256 if spec.pretrained else ''}"
        self._run = OnnxModule(FrozenPrefix(network.eval(), spec, stop), side, threads)
        self._shape = self._run(np.zeros((1, side, side, 3), np.float32)).shape[1:]

    def of_view(
        self, photos: PhotoSet, folder: Path, view: int, report: ProgressCallback
    ) -> npt.NDArray[np.float16]:
        """Return maps (N, h, w, channels) of one augmented view of photos to train on."""

        def compute(rows: slice) -> npt.NDArray[Any]:
            return self._run(augmented_view(photos.pixels[rows], photos.name, rows.start, view, self.side))

        return self._fill(folder / f"{photos.name}-maps-{view}.npy", photos, f"view {view}", compute, report)

    def of_photos(self, photos: PhotoSet, folder: Path, report: ProgressCallback) -> npt.NDArray[np.float16]:
        """Return maps (N, h, w, channels) of photos to validate on, as they are."""

        def compute(rows: slice) -> npt.NDArray[Any]:
            return self._run(photos.pixels[rows].astype(np.float32))

        return self._fill(folder / f"{photos.name}-val-maps.npy", photos, "val", compute, report)

    def _fill(
        self, path: Path, photos: PhotoSet, kind: str, compute: _Compute, report: ProgressCallback
    ) -> npt.NDArray[np.float16]:
        key = f"{self._key} {kind} {photos.key}"
        return fill_array(path, (len(photos.pixels), *self._shape), np.float16, key, compute, report)


def teacher_features(
    teacher: Teacher, photos: PhotoSet, folder: Path, view: int, side: int, report: ProgressCallback
) -> npt.NDArray[np.float16]:
    """Return a teacher's features (N, width) of one augmented view of photos to train on."""

    def compute(rows: slice) -> npt.NDArray[Any]:
        return teacher.features(augmented_view(photos.pixels[rows], photos.name, rows.start, view, side))

    path = folder / f"{photos.name}-teacher-{view}.npy"
    key = f"{teacher.key} view {view} {side} {photos.key}"
    return fill_array(path, (len(photos.pixels), teacher.width), np.float16, key, compute, report)


@dataclass(frozen=True)
class CachedGroup:
    """Cached data of one data set for training.

    Attributes:
        name: Name of the data set.
        labels: Names of the classes.
        classes: Rows of the photos of each class.
        maps: Maps (N, h, w, channels) by view.
        features: The teacher's features (N, width) by view; the first views, or none.
        teacher: Name of the teacher, "" for none.
        guidance: The guide's summaries (N, views, F), or None without a guide.
    """

    name: str
    labels: tuple[str, ...]
    classes: tuple[npt.NDArray[np.int64], ...]
    maps: Sequence[npt.NDArray[np.float16]]
    features: Sequence[npt.NDArray[np.float16]] = ()
    teacher: str = ""
    guidance: npt.NDArray[np.float16] | None = None


def rows_by_class(targets: npt.NDArray[np.int64], classes: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the rows of each class, from the class of each row."""
    return tuple(np.flatnonzero(targets == c) for c in range(classes))


def describe_groups(groups: Sequence[CachedGroup]) -> str:
    """Describe the photos and the teacher of each group in a line, for a model card."""
    return ", ".join(
        f"{group.name} ({sum(map(len, group.classes))} photos of {len(group.classes)} classes"
        + (f", teacher {group.teacher})" if group.teacher else ")")
        for group in groups
    )


def center_square(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Resize the shorter side to `side` pixels and cut the center: RGB uint8 (side, side, 3)."""
    width, height = image.size
    scale = side / min(width, height)
    width, height = max(side, round(width * scale)), max(side, round(height * scale))
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def load_squares(photos: Sequence[Photo], side: int) -> npt.NDArray[np.uint8]:
    """Decode photos to train on and cut each by `center_square`: RGB uint8 (N, side, side, 3)."""
    return np.stack([center_square(photo.load(), side) for photo in photos])


def augmented_view(
    photos: npt.NDArray[np.uint8], group: str, first_row: int, view: int, side: int
) -> npt.NDArray[np.float32]:
    """Return one augmented view of a block of photos.

    Args:
        photos: RGB uint8 (N, S, S, 3), a block of a group.
        group: Name of the group.
        first_row: Row of the block's first photo in the group.
        view: Number of the view.
        side: Side of the result in pixels.

    Returns:
        float32 (N, side, side, 3) in 0-255; it depends on the arguments alone.
    """
    digest = hashlib.sha256(f"{group} {first_row} {view}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    pixels = torch.from_numpy(np.array(photos))
    return augment(pixels, side, generator).numpy()
