"""Statistics of photos for backgrounds and for measuring unknown species."""

from __future__ import annotations

import shutil

import pytest

from hmdrn.loading import load
from hmdrn.open_set import compute_photo_statistics
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.progress import ignore_progress


def test_unreadable_photos_are_replaced_by_others_of_their_species_and_named(specimens, tmp_path):
    folder = shutil.copytree(specimens, tmp_path / "data")
    first, second, *others = sorted(folder.iterdir())
    (first / "0.png").write_bytes(b"not an image")
    for photo in second.iterdir():
        photo.write_bytes(b"")
    shutil.rmtree(others[-1])
    recognizer, classes = load("default", threads=1), open_dataset(folder).classes
    reader = PhotoReader()
    statistics = compute_photo_statistics(recognizer, classes, 5, ignore_progress, reader)
    assert {label: len(photos) for label, photos in statistics.items()} == {first.name: 5, others[0].name: 5}
    assert len(reader.unreadable) in (6, 7), "the damaged one of the first species need not be drawn"
    assert sum(second.name in reason for reason in reader.unreadable) == 6
    with pytest.raises(DatasetError, match=r"[67] photos cannot be read"):
        compute_photo_statistics(recognizer, classes, 5, ignore_progress)
