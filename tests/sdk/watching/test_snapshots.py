"""Pictures of unknowns: how many, of what, and whether they can be enrolled."""

from __future__ import annotations

import pytest
from namers import Answers, answer
from PIL import Image

import hmdrn
from hmdrn.watching.snapshots import MOST, Snapshots
from hmdrn.watching.watch import SEPARATE
from hmdrn_runtime.datasets.dataset import open_species
from hmdrn_runtime.errors import HmdrnError

UNKNOWN, KNOWN = answer("Jay", known=False), answer("Jay", known=True)


def keep(folder, site, answers, every=0.0, **options):
    """Watch the film, whose 90 frames last three seconds, and keep snapshots; returns these by folder."""
    snapshots = Snapshots(folder, every, "crop")
    watching = hmdrn.watch(Answers(*answers), site.film, **options)
    for result in watching:
        snapshots.take(result)
    found = {d.name: sorted(d.iterdir()) for d in sorted(folder.iterdir())}
    assert snapshots.taken == sum(map(len, found.values()))
    return found


def test_unknown_frames_are_kept_no_more_often_than_asked(site, tmp_path):
    (photos,) = keep(tmp_path / "kept", site, [UNKNOWN], every=1.0).values()
    assert len(photos) == 3
    assert all(Image.open(photo).size == (160, 160) for photo in photos)


def test_nothing_is_kept_of_known_species_nor_of_a_single_unknown_answer(site, tmp_path):
    assert keep(tmp_path, site, [*[KNOWN] * 20, UNKNOWN, *[KNOWN] * 20]) == {}


def test_of_one_subject_only_so_many_are_kept_and_another_begins_a_folder(site, tmp_path):
    answers = [*[UNKNOWN] * 30, *[KNOWN] * 30, UNKNOWN]
    first, second = keep(tmp_path, site, answers).values()
    assert len(first) == MOST
    assert len(second) == MOST


def test_no_folder_is_begun_beyond_the_limit_until_one_is_renamed_and_that_is_told_once(site, tmp_path):
    told = []
    snapshots = Snapshots(tmp_path, 0.0, "crop", folders=2, tell=told.append)

    def run():
        answers = [*[*[UNKNOWN] * 10, *[KNOWN] * 10] * 3, KNOWN]
        for result in hmdrn.watch(Answers(*answers), site.film, smoothing=SEPARATE):
            snapshots.take(result)
        return len(list(tmp_path.iterdir()))

    assert run() == 2
    assert run() == 2
    (message,) = told
    assert "2 folders of unknown subjects" in message
    assert "--snapshot-folders" in message
    next(tmp_path.iterdir()).rename(tmp_path / "Jay")
    assert run() == 3
    assert len(told) == 2


def test_without_boxes_one_folder_is_of_one_uninterrupted_sight_whatever_it_shows(site, tmp_path):
    other = answer("Wren", known=False)
    assert len(keep(tmp_path, site, [*[UNKNOWN] * 40, other])) == 1


def test_of_boxes_what_is_in_them_is_kept_a_folder_for_each_subject(site, tmp_path):
    boxes = [(20, 20, 100, 110), (60, 70, 140, 150)]
    kept = keep(tmp_path, site, [UNKNOWN], boxes=lambda frame: boxes)
    sizes = {name.rpartition("-")[2]: {Image.open(p).size for p in photos} for name, photos in kept.items()}
    assert sizes == {"1": {(80, 90)}, "2": {(80, 80)}}


def test_a_picture_that_would_teach_nothing_is_not_kept(tmp_path, site):
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.new("RGB", (160, 160), (120, 120, 120)).save(plain / "grey.png")
    snapshots = Snapshots(tmp_path / "kept", 0.0, "crop")
    for result in hmdrn.watch(Answers(UNKNOWN), plain):
        snapshots.take(result)
    assert snapshots.taken == 0


def test_what_is_kept_is_laid_out_as_enrolling_wants_it(site, tmp_path):
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
        Snapshots(tmp_path / "file", 1.0, "crop")
