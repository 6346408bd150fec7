"""Species and queries for the benchmarks of large galleries, made once and kept in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.progress import track

import hmdrn
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.gallery.photo_statistics import Float32

if TYPE_CHECKING:
    import torch

_PART = 500
_MOST_SHOTS = 5


@dataclass(frozen=True)
class SpeciesCache:
    """Enrolled species in files.

    Attributes:
        folder: Folder of the files.
        packed: Numbers in a packed operator, P.
    """

    folder: Path
    packed: int

    @classmethod
    def open(cls, folder: Path) -> SpeciesCache:
        """Open the default network's part of the cache in a folder, empty or not."""
        network = hmdrn.load(threads=1).gallery.network
        return cls(folder / network.fingerprint[:12], network.packed)

    def operators(self, start: int, end: int) -> Float32:
        """Read packed operators (end - start, P) of a range of species; a mapping would count as memory."""
        return self._read("operators.f32", start, end)

    def sums(self, start: int, end: int) -> Float32:
        """Read the summed packed Gram matrices (end - start, P) of a range of species."""
        return self._read("sums.f32", start, end)

    def shots(self, count: int) -> npt.NDArray[np.uint8]:
        """Read the number of photos of each of the first species."""
        return np.fromfile(self.folder / "shots.u8", np.uint8, count)

    def __len__(self) -> int:
        path = self.folder / "shots.u8"
        return path.stat().st_size if path.is_file() else 0

    def _read(self, name: str, start: int, end: int) -> Float32:
        path, size = self.folder / name, self.packed * 4
        count = (end - start) * self.packed
        return np.fromfile(path, np.float32, count, offset=start * size).reshape(-1, self.packed)


def fill_cache(data: Sequence[str], folder: Path, count: int) -> None:
    """Enroll species until the cache holds `count`; those already in it stay."""
    species = SpeciesCache.open(folder)
    species.folder.mkdir(parents=True, exist_ok=True)
    done = len(species) // _PART * _PART
    if len(species) >= count:
        return
    import torch

    birds = hmdrn.load(threads=1)
    classes = _prepare_photos(data, "train")
    for name, row in (
        ("operators.f32", species.packed * 4),
        ("sums.f32", species.packed * 4),
        ("shots.u8", 1),
    ):
        with (species.folder / name).open("ab") as file:
            file.truncate(done * row)
    for start in track(range(done, count, _PART), "enrolling species"):
        random, generator = np.random.default_rng(start), torch.Generator().manual_seed(start)
        shots = random.integers(1, _MOST_SHOTS + 1, _PART)
        chosen = [classes[random.integers(len(classes))] for _ in shots]
        photos = np.concatenate(
            [pool[random.choice(len(pool), n, replace=False)] for pool, n in zip(chosen, shots, strict=True)]
        )
        grams = np.concatenate(
            [
                birds.backend.run("enroll", {"images": _augment(photos[i : i + 64], generator)})[
                    "support_gram"
                ]
                for i in range(0, len(photos), 64)
            ]
        )
        ends = np.cumsum(shots)
        sums = np.add.reduceat(grams.astype(np.float64), np.concatenate([[0], ends[:-1]])).astype(np.float32)
        with (species.folder / "sums.f32").open("ab") as file:
            file.write(sums.tobytes())
        with (species.folder / "operators.f32").open("ab") as file:
            for i in range(0, _PART, 50):
                inputs = {"gram": sums[i : i + 50], "shots": shots[i : i + 50].astype(np.float32)}
                file.write(birds.backend.run("solve", inputs)["operator"].tobytes())
        with (species.folder / "shots.u8").open("ab") as file:
            file.write(shots.astype(np.uint8).tobytes())


def cache_queries(data: Sequence[str], folder: Path, count: int) -> None:
    """Write at least `count` val photos (N, side, side, 3) to queries.npy: unchanged, then augmented."""
    path = folder / "queries.npy"
    if path.is_file() and len(np.load(path, mmap_mode="r")) >= count:
        return
    import torch

    photos = np.concatenate(_prepare_photos(data, "val"))
    photos = photos[np.random.default_rng(0).permutation(len(photos))]
    parts, generator = [photos], torch.Generator().manual_seed(0)
    while sum(map(len, parts)) < count:
        parts.append(_augment(photos, generator))
    np.save(path, np.concatenate(parts)[:count])


def _augment(photos: np.ndarray, generator: torch.Generator) -> np.ndarray:
    import torch  # here and above: a process that measures memory only reads the cache

    from hmdrn_network.training.augmentation import augment

    return augment(torch.from_numpy(photos), photos.shape[1], generator).round().to(torch.uint8).numpy()


def _prepare_photos(data: Sequence[str], split: str) -> list[np.ndarray]:
    preprocessing = hmdrn.load("default").preprocessing
    return [
        np.stack([photo.prepare(preprocessing) for photo in photos])
        for source in data
        for photos in open_dataset(source, split).classes.values()
    ]
