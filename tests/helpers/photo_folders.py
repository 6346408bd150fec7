"""Folders and zips of photos by class."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from hmdrn_runtime.datasets.dataset import Dataset, open_dataset
from hmdrn_runtime.errors import DatasetError

CLASSES = ("robin/1.jpg", "robin/2.jpg", "wren/1.jpg")
SPLITS = ("train/robin/1.jpg", "train/robin/2.jpg", "train/wren/1.jpg", "val/crow/1.jpg", "val/robin/1.jpg")


def make_folder(root: Path, names: tuple[str, ...], wrapper: str = "") -> Path:
    for name in names:
        path = root / wrapper / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"bytes of {name}".encode())
    return root


def make_zip(
    path: Path, names: tuple[str, ...], wrapper: str = "", packing: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name in names:
            archive.writestr(wrapper + name, f"bytes of {name}")
    return path


def names_of(dataset: Dataset) -> dict[str, list[str]]:
    return {label: [photo.name for photo in photos] for label, photos in dataset.classes.items()}


def refused(path: Path | str, message: str, split: str = "all") -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(path, split)
    assert "\n" not in str(caught.value)
