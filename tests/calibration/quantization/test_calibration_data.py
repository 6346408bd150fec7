from __future__ import annotations

import shutil

import numpy as np
import pytest
from preprocessings import CROP, DEFAULT

from hmdrn_calibration.quantization.calibration_data import fit_settings, load_calibration_photos
from hmdrn_runtime.errors import DatasetError


def test_without_splits_no_photo_serves_both_purposes(data):
    photos = load_calibration_photos(data, DEFAULT)
    assert [len(members) for members in photos.ranges.values()] == [6] * 6
    assert [len(members) for members in photos.accuracy.values()] == [6] * 6
    for label, members in photos.ranges.items():
        measured = [p.pixels for p in photos.accuracy[label]]
        for photo in members:
            assert not any(np.array_equal(photo.prepare(DEFAULT), pixels) for pixels in measured)


def test_splits_train_and_val_serve_one_purpose_each(data, tmp_path):
    for split, species in (("train", range(4)), ("val", range(4, 6)), ("test", range(2))):
        folders = sorted(data.iterdir())
        for i in species:
            shutil.copytree(folders[i], tmp_path / split / folders[i].name)
    photos = load_calibration_photos(tmp_path, DEFAULT)
    assert len(photos.ranges) == 4
    assert len(photos.accuracy) == 2
    assert "from val" in photos.rule


@pytest.mark.parametrize("preprocessing", [CROP, DEFAULT])
def test_photos_are_the_networks_input(data, preprocessing):
    photo = next(iter(load_calibration_photos(data, preprocessing).accuracy.values()))[0]
    assert photo.prepare(preprocessing).shape == (preprocessing.side, preprocessing.side, 3)
    assert photo.prepare(preprocessing).dtype == np.uint8


def test_unreadable_photos_are_left_out_of_both_purposes_and_named(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    folder = min(copy.iterdir())
    (folder / "02.png").write_bytes(b"not an image")
    (folder / "03.png").unlink()
    (folder / "03.png").symlink_to(tmp_path / "gone.png")
    photos = load_calibration_photos(copy, DEFAULT)
    assert len(photos.unreadable) == 2
    assert "02.png" in photos.unreadable[0]
    assert "03.png" in photos.unreadable[1]
    for part in (photos.ranges, photos.accuracy):
        assert [len(members) for members in part.values()] == [5, 6, 6, 6, 6, 6]
    assert load_calibration_photos(data, DEFAULT).unreadable == ()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([40] * 9, (5, [1, 5], 16)),
        ([6] * 6, (5, [1], 5)),
        ([12] * 6, (5, [1, 5], 7)),
        ([30, 30, 30], (3, [1, 5], 16)),
        ([2, 2], (2, [1], 1)),
        ([2, 40, 40, 40, 40, 40], (5, [1, 5], 16)),
    ],
)
def test_episodes_fit_the_classes_that_there_are(sizes, expected):
    settings = fit_settings(sizes, 7)
    assert (settings[0].way, [s.shot for s in settings], settings[0].queries) == expected
    assert all(s.episodes == 7 for s in settings)
    for s in settings:
        assert sum(size >= s.shot + s.queries for size in sizes) >= s.way


@pytest.mark.parametrize("sizes", [[], [30], [1, 1, 1], [1, 30]])
def test_too_few_classes_or_photos_are_refused_before_any_is_read(sizes):
    with pytest.raises(DatasetError, match="two classes with at least two photos"):
        fit_settings(sizes, 1)
