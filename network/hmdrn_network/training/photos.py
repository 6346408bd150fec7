"""Photographs decoded once for training, and what is wrong with them."""

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
import PIL.Image
import torch
from PIL.Image import Resampling
from torch import Tensor

from hmdrn_runtime.datasets.dataset import Photo
from hmdrn_runtime.errors import ImageError, TrainingError
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

MARGIN = 96 / 84
"""Side of the decoded photos by the side of the network's input: room for crops to vary."""
_FORMAT = 2


@dataclass(frozen=True)
class Problems:
    """What was found in photographs, by name; all but `modes` is left out of training.

    Attributes:
        unreadable: Photos that cannot be decoded, with the reason.
        repeated: Photos whose pixels are those of an earlier one of their class.
        contradictory: Photos whose pixels lie in several classes.
        lonely: Classes with a single photo left.
        modes: How many photos are of which pixel mode other than RGB; they are converted.
    """

    unreadable: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    contradictory: tuple[str, ...] = ()
    lonely: tuple[str, ...] = ()
    modes: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One line for each kind of problem, with counts and the first names."""
        found: list[tuple[str, Sequence[str]]] = [
            ("photos that cannot be read, left out", list(self.unreadable.values())),
            ("photos that repeat another of their class, left out", self.repeated),
            ("photos that lie in several classes, left out", self.contradictory),
            ("classes with a single photo, left out", self.lonely),
        ]
        lines = [f"{len(names)} {what}: {_some(names)}" for what, names in found if names]
        if self.modes:
            counts = ", ".join(f"{count} {mode}" for mode, count in sorted(self.modes.items()))
            lines.append(f"photos converted to RGB: {counts}")
        return lines


@dataclass(frozen=True)
class PhotoGroup:
    """Photos of the classes that may meet in one episode.

    Attributes:
        name: The group's name, e.g. its file's.
        images: RGB uint8 (N, S, S, 3).
        classes: For every class the indices of its photos in `images`.
        names: The classes' names, where they are known.
        problems: What is not among the photos, and why.
    """

    name: str
    images: Tensor
    classes: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    problems: Problems = Problems()


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
    """Decode photographs, each squashed to a square; random crops bring other aspects back.

    Args:
        name: The group's name.
        classes: Photographs by class.
        side: Side of the network's input in pixels; photos are kept a little larger, for crops to vary.
        report: Told of the progress.
        cache: File without suffix to keep the decoded photos in, memory-mapped; it must be another one for
            other photographs. In memory alone if None.

    Returns:
        The group; classes and photos that cannot serve are named in `problems`.

    Raises:
        TrainingError: Fewer than two classes are left, or the cache cannot be written.
    """
    stored = decoded_side(side)
    cached = None if cache is None else _read_cache(cache, stored)
    if cached is None:
        images, members, problems = _decode(name, classes, stored, report)
        if cache is not None:
            images = _write_cache(cache, images, members, problems)
    else:
        images, members, problems = cached
    if len(members) < 2:
        raise TrainingError(
            f"{name} has {len(members)} usable classes: give at least 2 with 2 photos each"
            + "".join(f"; {line}" for line in problems.lines())
        )
    indices = torch.split(torch.arange(len(images)), [len(photos) for photos in members.values()])
    return PhotoGroup(name, torch.from_numpy(images), indices, tuple(members), problems)


def _decode(
    name: str, classes: Mapping[str, Sequence[Photo]], side: int, report: ProgressCallback
) -> tuple[npt.NDArray[np.uint8], dict[str, list[str]], Problems]:
    """Pixels of the usable photos, their names by class in the order of the pixels, and the problems."""
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
        except ImageError as error:
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
    lonely = [label for label, names in members.items() if len(names) == 1]
    usable = {label: sorted(names) for label, names in members.items() if len(names) > 1}
    images = [pixels[n] for names in usable.values() for n in names]
    return (
        np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8),
        usable,
        Problems(
            unreadable, tuple(sorted(repeated)), tuple(sorted(contradictory)), tuple(lonely), dict(modes)
        ),
    )


def _stored_mode(photo: Photo) -> str:
    """The pixel mode of the file, before it was made RGB."""
    with PIL.Image.open(io.BytesIO(photo.read())) as image:
        return str(image.mode)


def _write_cache(
    cache: Path, images: npt.NDArray[np.uint8], members: Mapping[str, list[str]], problems: Problems
) -> npt.NDArray[np.uint8]:
    index = {"format": _FORMAT, "side": images.shape[1], "members": members, "problems": asdict(problems)}
    buffer = io.BytesIO()
    np.save(buffer, images)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache.with_suffix(".npy"), buffer.getvalue())
        # Last: where the index is, the pixels are whole.
        write_atomically(cache.with_suffix(".json"), json.dumps(index).encode())
    except OSError as error:
        raise TrainingError(
            f"cannot keep decoded photos in {cache.parent}: {describe_os_error(error)}"
        ) from error
    return _mapped(cache)


def _read_cache(
    cache: Path, side: int
) -> tuple[npt.NDArray[np.uint8], dict[str, list[str]], Problems] | None:
    try:
        index = json.loads(cache.with_suffix(".json").read_text())
        if (index["format"], index["side"]) != (_FORMAT, side):
            return None
        images = _mapped(cache)
        problems: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in index["problems"].items()
        }
        if len(images) != sum(map(len, index["members"].values())):
            return None
        return images, index["members"], Problems(**problems)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: decoded again


def _mapped(cache: Path) -> npt.NDArray[np.uint8]:
    # Copy-on-write: torch wants writable memory, the file stays as it is.
    images: npt.NDArray[np.uint8] = np.load(cache.with_suffix(".npy"), mmap_mode="c")
    return images


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
