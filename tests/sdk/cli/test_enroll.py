"""`hmdrn enroll`: what is read, passed over and refused."""

from __future__ import annotations

import shutil

import pytest
from outcomes import assert_refused

from hmdrn_runtime.gallery.file import load_gallery


@pytest.fixture
def two(specimens, tmp_path):
    """Two species of one photo each."""
    for source, name in zip(sorted(specimens.iterdir()), ("robin", "wren"), strict=False):
        (tmp_path / "two" / name).mkdir(parents=True)
        shutil.copy(source / "0.png", tmp_path / "two" / name)
    return tmp_path / "two"


def test_all_problems_of_a_folder_are_reported_together(hmdrn, two, tmp_path):
    (two / "empty").mkdir()
    (two / "robin" / "bad.jpg").write_bytes(b"not an image")
    (two / "wren" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    shutil.copytree(two / "robin", two / ("x" * 121))
    outcome = hmdrn("enroll", "default", two, "-g", tmp_path / "g.gallery")
    words = ("'empty'", "robin/bad.jpg", "gone.jpg", "has 121 characters", "--skip-unreadable")
    assert_refused(outcome, "5 problems: ", *words)
    assert not (tmp_path / "g.gallery").exists()


def test_one_problem_is_reported_as_it_is(hmdrn, two, tmp_path):
    (two / "robin" / "bad.jpg").write_bytes(b"not an image")
    outcome = hmdrn("enroll", "default", two, "-g", tmp_path / "g.gallery")
    assert_refused(outcome, "robin/bad.jpg is not an image", "--skip-unreadable")
    assert "problems" not in outcome.err


def test_files_of_systems_are_passed_over_and_other_images_are_named(hmdrn, two, tmp_path):
    for litter in (
        "$RECYCLE.BIN/a.jpg",
        "@eaDir/robin/SYNOPHOTO_THUMB_M.jpg",
        "robin/._0.png",
        "lost+found/",
    ):
        path = two / litter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if litter.endswith("/") else path.write_bytes(b"not an image")
    (two / "robin" / "layers.psd").touch()
    outcome = hmdrn("enroll", "default", two, "-g", tmp_path / "g.gallery")
    assert outcome.code == 0, outcome.err
    assert list(load_gallery(tmp_path / "g.gallery")) == ["robin", "wren"]
    assert "left out 1 that are not photos: robin/layers.psd" in outcome.err


def test_labels_that_look_alike_are_reported_with_what_tells_them_apart(hmdrn, two, tmp_path):
    (two / "robin").rename(two / "Anna’s Wren")
    (two / "wren").rename(two / "Annaʼs wren")
    gallery = tmp_path / "g.gallery"
    pair = ("'Anna’s Wren' (U+2019", "'Annaʼs wren' (U+02BC")
    outcome = hmdrn("enroll", "default", two, "-g", gallery)
    assert outcome.code == 0
    shown = hmdrn("gallery", "show", gallery, "Anna’s Wren", "--json")
    assert len(shown.json["doubts"]) == 1
    merged = hmdrn("gallery", "merge", tmp_path / "other.gallery", gallery)
    for err in (outcome.err, shown.err, merged.err):
        assert "warning: " in err
        assert all(label in err for label in pair), err
