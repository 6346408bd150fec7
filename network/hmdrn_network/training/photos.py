"""Photos decoded once for training, and the problems among them."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Resampling
from torch import Tensor

from hmdrn_runtime.datasets.dataset import Photo
from hmdrn_runtime.datasets.reading import describe_unreadable
from hmdrn_runtime.errors import DatasetError, ImageError, TrainingError
from hmdrn_runtime.images.formats import read_image_header
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.messages import abbreviate_names
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

MARGIN = 96 / 84
"""Side of the decoded photos by the side of the network's input, a margin for random crops."""
_FORMAT = 3


@dataclass(frozen=True)
class PhotoProblems:
    """Problems among photos, by name; all but those of `modes` are left out of training.

    Attributes:
        unreadable: Photos that cannot be decoded, with the reason.
        repeated: Photos whose pixels are those of an earlier one of their class.
        contradictory: Photos whose pixels lie in several classes.
        single: Classes with a single usable photo.
        modes: Number of photos by pixel mode other than RGB; they are converted.
    """

    unreadable: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    contradictory: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    modes: Mapping[str, int] = field(default_factory=dict)

    def describe(self) -> list[str]:
        """Describe each kind of problem in a line, with its count and the first names."""
        kinds: list[tuple[str, Sequence[str]]] = [
            ("photos that repeat another of their class, left out", self.repeated),
            ("photos that lie in several classes, left out", self.contradictory),
            ("classes with a single photo, left out", self.single),
        ]
        lines = [describe_unreadable(list(self.unreadable.values()))] if self.unreadable else []
        lines += [f"{len(names)} {kind}: {abbreviate_names(names, 3)}" for kind, names in kinds if names]
        if self.modes:
            counts = ", ".join(f"{count} {mode}" for mode, count in sorted(self.modes.items()))
            lines.append(f"photos converted to RGB: {counts}")
        return lines


@dataclass(frozen=True)
class PhotoGroup:
    """Photos of the classes that may meet in one episode.

    Attributes:
        name: Name of the group, e.g. that of its file.
        images: RGB uint8 (N, S, S, 3).
        classes: Indices in `images` of the photos of each class.
        names: Names of the classes, if they are known.
        problems: Photos and classes that were left out.
    """

    name: str
    images: Tensor
    classes: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    problems: PhotoProblems = PhotoProblems()


# Pixels of the usable photos, their names by class in the order of the pixels, and the problems.
_Decoded = tuple[npt.NDArray[np.uint8], dict[str, list[str]], PhotoProblems]


def decoded_side(side: int) -> int:
    """Return the side in pixels of decoded photos for a network of input `side`."""
    return round(side * MARGIN)


def load_photo_group(
    name: str,
    classes: Mapping[str, Sequence[Photo]],
    side: int,
    report: ProgressCallback = ignore_progress,
    cache: Path | None = None,
) -> PhotoGroup:
    """Decode photos, each squashed to a square; random crops restore other aspect ratios.

    Args:
        name: Name of the group.
        classes: Photos by class.
        side: Side of the network's input in pixels; decoded photos have `decoded_side`.
        report: Receives the progress.
        cache: File without suffix for the decoded photos, memory-mapped; other photos need another file.
            None decodes into memory.

    Returns:
        The group; `problems` names classes and photos that are left out.

    Raises:
        TrainingError: Fewer than two classes are left, or the cache cannot be written.
    """
    stored = decoded_side(side)
    decoded = None if cache is None else _read_cache(cache, stored)
    if decoded is None:
        decoded = _decode(name, classes, stored, report)
        if cache is not None:
            decoded = _write_cache(cache, *decoded)
    images, members, problems = decoded
    if len(members) < 2:
        raise TrainingError(
            f"{name} has {len(members)} usable classes: give at least 2 with 2 photos each"
            + "".join(f"; {line}" for line in problems.describe())
        )
    indices = torch.split(torch.arange(len(images)), [len(photos) for photos in members.values()])
    return PhotoGroup(name, torch.from_numpy(images), indices, tuple(members), problems)


def _decode(
    name: str, classes: Mapping[str, Sequence[Photo]], side: int, report: ProgressCallback
) -> _Decoded:
    pixels: dict[str, npt.NDArray[np.uint8]] = {}
    owner: dict[str, str] = {}
    copies: dict[bytes, list[str]] = defaultdict(list)
    unreadable: dict[str, str] = {}
    modes: Counter[str] = Counter()
    photos = [(label, photo) for label, members in classes.items() for photo in members]
    for done, (label, photo) in enumerate(photos):
        report(f"reading {name}", done + 1, len(photos))
        try:
            image = photo.load()
        except (ImageError, DatasetError) as error:
            unreadable[photo.name] = str(error)
            continue
        pixels[photo.name] = np.asarray(image.resize((side, side), Resampling.BILINEAR))
        owner[photo.name] = label
        copies[hashlib.sha256(pixels[photo.name].tobytes()).digest()].append(photo.name)
        mode = _stored_mode(photo)
        if mode != "RGB":
            modes[mode] += 1
    contradictory = [n for names in copies.values() if len({owner[n] for n in names}) > 1 for n in names]
    repeated = [n for names in copies.values() if len({owner[n] for n in names}) == 1 for n in names[1:]]
    members: dict[str, list[str]] = {label: [] for label in classes}
    for photo_name in pixels.keys() - {*contradictory, *repeated}:
        members[owner[photo_name]].append(photo_name)
    single = [label for label, names in members.items() if len(names) == 1]
    usable = {label: sorted(names) for label, names in members.items() if len(names) > 1}
    images = [pixels[n] for names in usable.values() for n in names]
    return (
        np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8),
        usable,
        PhotoProblems(
            unreadable, tuple(sorted(repeated)), tuple(sorted(contradictory)), tuple(single), dict(modes)
        ),
    )


def _stored_mode(photo: Photo) -> str:
    """Return the pixel mode of the file, before the conversion to RGB."""
    data = photo.read()
    with read_image_header(io.BytesIO(data), len(data), photo.name) as image:
        return str(image.mode)


def _write_cache(
    cache: Path, images: npt.NDArray[np.uint8], members: dict[str, list[str]], problems: PhotoProblems
) -> _Decoded:
    index = {"format": _FORMAT, "side": images.shape[1], "members": members, "problems": asdict(problems)}
    buffer = io.BytesIO()
    np.save(buffer, images)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache.with_suffix(".npy"), buffer.getvalue())
        # Written last: if the index exists, the pixels are complete.
        write_atomically(cache.with_suffix(".json"), json.dumps(index).encode())
    except OSError as error:
        raise TrainingError(
            f"cannot write decoded photos to {cache.parent}: {describe_os_error(error)}"
        ) from error
    return _open_pixels(cache), members, problems


def _read_cache(cache: Path, side: int) -> _Decoded | None:
    try:
        index = json.loads(cache.with_suffix(".json").read_text())
        if (index["format"], index["side"]) != (_FORMAT, side):
            return None
        images = _open_pixels(cache)
        problems: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in index["problems"].items()
        }
        if len(images) != sum(map(len, index["members"].values())):
            return None
        return images, index["members"], PhotoProblems(**problems)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: decoded again


def _open_pixels(cache: Path) -> npt.NDArray[np.uint8]:
    # Copy-on-write: torch needs writable memory, the file stays unchanged.
    images: npt.NDArray[np.uint8] = np.load(cache.with_suffix(".npy"), mmap_mode="c")
    return images
