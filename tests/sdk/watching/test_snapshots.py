"""Images of unknown subjects: how many there are, and that they can be enrolled."""

from __future__ import annotations

import os

import pytest
from fake_classifier import FakeClassifier, make_prediction
from PIL import Image
from preprocessings import CROP

import hmdrn
from hmdrn.watching.settings import NO_SMOOTHING
from hmdrn.watching.snapshots import MAX_PICTURES, SnapshotWriter
from hmdrn_runtime.datasets.dataset import open_species
from hmdrn_runtime.errors import HmdrnError

UNKNOWN, KNOWN = make_prediction("Jay", known=False), make_prediction("Jay", known=True)


def keep(folder, site, answers, every=0.0, **options):
    """Watch the film, whose 90 frames last three seconds, and keep snapshots; returns these by folder."""
    snapshots = SnapshotWriter(folder, every, CROP)
    watching = hmdrn.watch(FakeClassifier(*answers), site.film, **options)
    for result in watching:
        snapshots.add(result)
    pictures = {d.name: sorted(d.iterdir()) for d in sorted(folder.iterdir())}
    assert snapshots.count == sum(map(len, pictures.values()))
    return pictures


def test_unknown_frames_are_saved_no_more_often_than_requested(site, tmp_path):
    (photos,) = keep(tmp_path / "kept", site, [UNKNOWN], every=1.0).values()
    assert len(photos) == 3
    assert all(Image.open(photo).size == (160, 160) for photo in photos)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_snapshots_can_be_read_by_their_user_alone(site, tmp_path):
    before = os.umask(0o022)
    try:
        (photos,) = keep(tmp_path / "kept", site, [UNKNOWN], every=1.0).values()
    finally:
        os.umask(before)
    assert {photo.stat().st_mode & 0o777 for photo in photos} == {0o600}


def test_known_species_and_single_unknown_predictions_are_not_saved(site, tmp_path):
    assert keep(tmp_path, site, [*[KNOWN] * 20, UNKNOWN, *[KNOWN] * 20]) == {}


def test_images_of_a_subject_are_limited_and_another_starts_a_folder(site, tmp_path):
    answers = [*[UNKNOWN] * 30, *[KNOWN] * 30, UNKNOWN]
    first, second = keep(tmp_path, site, answers).values()
    assert len(first) == MAX_PICTURES
    assert len(second) == MAX_PICTURES


def test_folders_are_limited_until_one_is_renamed_and_it_is_said_once(site, tmp_path):
    messages = []
    snapshots = SnapshotWriter(tmp_path, 0.0, CROP, folders=2, report=messages.append)

    def run():
        answers = [*[*[UNKNOWN] * 10, *[KNOWN] * 10] * 3, KNOWN]
        for result in hmdrn.watch(FakeClassifier(*answers), site.film, smoothing=NO_SMOOTHING):
            snapshots.add(result)
        return len(list(tmp_path.iterdir()))

    assert run() == 2
    assert run() == 2
    (message,) = messages
    assert "2 folders of unknown subjects" in message
    assert "--snapshot-folders" in message
    next(tmp_path.iterdir()).rename(tmp_path / "Jay")
    assert run() == 3
    assert len(messages) == 2


def test_without_boxes_a_folder_is_one_uninterrupted_sighting(site, tmp_path):
    other = make_prediction("Wren", known=False)
    assert len(keep(tmp_path, site, [*[UNKNOWN] * 40, other])) == 1


def test_boxes_are_cropped_with_a_folder_for_each_subject(site, tmp_path):
    boxes = [(20, 20, 100, 110), (60, 70, 140, 150)]
    saved = keep(tmp_path, site, [UNKNOWN], boxes=lambda frame: boxes)
    sizes = {name.rpartition("-")[2]: {Image.open(p).size for p in photos} for name, photos in saved.items()}
    assert sizes == {"1": {(80, 90)}, "2": {(80, 80)}}


def test_photos_taken_in_one_second_are_all_saved(site, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for place, photo in enumerate(site.photos):
        (photos / f"{place}.jpg").write_bytes(photo.read_bytes())
        os.utime(photos / f"{place}.jpg", (1e9, 1e9))
    snapshots = SnapshotWriter(tmp_path / "kept", 0.0, CROP)
    for result in hmdrn.watch(FakeClassifier(UNKNOWN), photos):
        snapshots.add(result)
    assert snapshots.count == len(list((tmp_path / "kept").glob("*/*.jpg"))) == len(site.photos)


def test_an_image_of_bad_quality_is_not_saved(tmp_path, site):
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.new("RGB", (160, 160), (120, 120, 120)).save(plain / "gray.png")
    snapshots = SnapshotWriter(tmp_path / "kept", 0.0, CROP)
    for result in hmdrn.watch(FakeClassifier(UNKNOWN), plain):
        snapshots.add(result)
    assert snapshots.count == 0


def test_snapshots_are_laid_out_for_enrolling(site, tmp_path):
    keep(tmp_path / "kept", site, [*[UNKNOWN] * 30, *[KNOWN] * 30, UNKNOWN])
    first, second = sorted((tmp_path / "kept").iterdir())
    first.rename(tmp_path / "kept" / "Sooty Albatross")
    second.rename(tmp_path / "kept" / "Jay")
    recognizer = hmdrn.load("default", threads=1)
    for label, photos in open_species(tmp_path / "kept").classes.items():
        recognizer.enroll(label, [photo.read() for photo in photos])
    assert sorted(recognizer.gallery) == ["Jay", "Sooty Albatross"]


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HmdrnError, match="cannot make the folder"):
        SnapshotWriter(tmp_path / "file", 1.0, CROP)
