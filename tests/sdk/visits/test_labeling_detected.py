"""A card whose subjects a detector finds: crops are named, empty photos are not a subject."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from card_photos import write_photo
from drawn_detectors import write_detector
from outcomes import assert_refused
from PIL import Image

from hmdrn.detectors.command import CommandDetector
from hmdrn.visits.card_decoding import MAX_SUBJECTS
from hmdrn.visits.card_files import list_files, sort_files
from hmdrn.visits.labeling import label_card
from hmdrn.watching.frames import Frame
from hmdrn_runtime.errors import HmdrnError, ImageError

LEFT, RIGHT = (10.0, 10.0, 138.0, 138.0), (200.0, 60.0, 328.0, 188.0)
FINDER = """
import json, sys
for line in sys.stdin:
    name = line.strip().rpartition("/")[2]
    if name == "stop.png":
        sys.exit(7)
    answer = {"boxes": [[10, 10, 138, 138]] if name.startswith("left") else []}
    print("nonsense" if name == "bad.png" else json.dumps(answer), flush=True)
"""


def paste(*subjects):
    """A gray photo of 360x240 with subjects of 128x128: pairs of pixels and box."""
    photo = np.full((240, 360, 3), 110, np.uint8)
    for pixels, (x0, y0, x1, y1) in subjects:
        photo[int(y0) : int(y1), int(x0) : int(x1)] = pixels
    return photo


@pytest.fixture
def card(tmp_path, drawn):
    """A burst with a jay in two of three photos, a burst of nothing, and a broken file."""
    folder = tmp_path / "card"
    write_photo(folder / "left-0.jpg", paste((drawn[0][3], LEFT)), 0)
    write_photo(folder / "none-1.jpg", paste(), 1)
    write_photo(folder / "left-2.jpg", paste((drawn[0][4], LEFT)), 2)
    write_photo(folder / "none-3.jpg", paste(), 100)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return folder


def find_left(frame):
    color = np.asarray(frame.image)[20:40, 20:40].astype(float)
    return [LEFT] if np.abs(color - 110).mean() > 4 else []


def test_the_boxes_of_a_detector_are_named_and_empty_photos_have_no_visit(store, birds, card, tmp_path):
    report = label_card(store, birds, card, detector=find_left)
    assert (report.labeled, report.visits, list(report.errors)) == (4, 1, ["broken.jpg"])
    (visit,) = store.find()
    assert (visit.label, visit.frames, visit.duration) == ("Jay", 2, 2.0)
    assert {picture.box for picture in visit.pictures} == {LEFT}
    assert {(picture.width, picture.height) for picture in visit.pictures} == {(128, 128)}
    files = list(list_files(store, card))
    species = {file.path: file.species for file in files}
    assert species == {
        "left-0.jpg": "Jay",
        "none-1.jpg": "Jay",  # of the same burst
        "left-2.jpg": "Jay",
        "none-3.jpg": "not a subject",
        "broken.jpg": "",
    }
    assert sort_files(files, card, tmp_path / "sorted") == 4
    assert (tmp_path / "sorted" / "not a subject" / "none-3.jpg").is_file()
    again = label_card(store, birds, card, detector=find_left)
    assert (again.labeled, again.seen, again.visits) == (0, 4, 0)


def test_a_subject_is_named_as_its_crop_is(store, birds, drawn, tmp_path):
    write_photo(tmp_path / "card" / "a.png", paste((drawn[0][3], LEFT), (drawn[1][3], RIGHT)))
    label_card(store, birds, tmp_path / "card", detector=lambda frame: np.array([RIGHT, LEFT]))
    rows = store.query("SELECT label, probability FROM files")
    expected = birds.classify(drawn[1][3])
    assert [row["label"] for row in rows] == [expected.label] == ["Wren"]
    assert rows[0]["probability"] == pytest.approx(expected.probability, abs=1e-4)


def test_of_many_subjects_the_first_are_named_and_a_bad_box_is_an_error(store, birds, drawn, tmp_path):
    write_photo(tmp_path / "card" / "a.png", paste((drawn[0][3], LEFT)))
    asked = []

    def find_many(frame):
        asked.append(frame.file)
        return [LEFT] * 50 if len(asked) > 1 else [(500, 500, 600, 600)]

    report = label_card(store, birds, tmp_path / "card", detector=find_many)
    assert "500" in report.errors["a.png"]
    counted = []
    classify = birds.classify_batch
    birds.classify_batch = lambda photos: counted.append(len(photos)) or classify(photos)
    try:
        assert label_card(store, birds, tmp_path / "card", detector=find_many).labeled == 1
    finally:
        del birds.classify_batch
    assert counted == [MAX_SUBJECTS]


def test_a_program_finds_subjects_by_the_paths_of_photos(tmp_path):
    (tmp_path / "finder.py").write_text(FINDER)
    finder = CommandDetector(f"{sys.executable} '{tmp_path / 'finder.py'}'")
    try:
        answers = [finder(Frame(0, 0, 0, 0, Path(name))) for name in ("a/left.png", "a b/other.png")]
        assert answers == [((10, 10, 138, 138),), ()]
        with pytest.raises(HmdrnError, match="answered wrongly: line 3 of the boxes"):
            finder(Frame(0, 0, 0, 0, Path("bad.png")))
        with pytest.raises(ImageError, match="by their paths"):
            finder(Frame(0, 0, 0, 0, Path("line\nbreak.png")))
        for _ in range(2):
            with pytest.raises(HmdrnError, match=r"ended with code 7 at stop\.png"):
                finder(Frame(0, 0, 0, 0, Path("stop.png")))
    finally:
        finder.close()
    for command, words in ((str(tmp_path / "missing"), "cannot start"), ("'", "cannot read"), (" ", "empty")):
        with pytest.raises(HmdrnError, match=words):
            CommandDetector(command)


def test_the_command_takes_yolo_or_a_program_and_refuses_motion(hmdrn, birds, card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    birds.save_gallery(tmp_path / "a.gallery")
    (tmp_path / "finder.py").write_text(FINDER)

    def label(*options):
        return hmdrn("label", card, "--gallery", tmp_path / "a.gallery", "--threads", 1, "--json", *options)

    done = label("--detect", f"command:{sys.executable} finder.py")
    assert done.code == 2, "a photo is broken"
    assert json.loads(done.out)["species"] == [
        {"text": "Jay", "visits": 1, "photos": 3},
        {"text": "not a subject", "visits": 0, "photos": 1},
    ]

    squares = Image.new("RGB", (128, 64))
    squares.paste((255, 0, 0), (0, 0, 32, 32))
    squares.save(card / "squares.png")
    yolo = write_detector(tmp_path / "yolo.onnx", "v8")
    done = label("--detect", f"yolo:{yolo}", "--detect-classes", "bird", "--visits", "yolo.visits")
    assert json.loads(done.out)["labeled"] == 5
    with Image.open(card / "squares.png") as photo:
        assert photo.size == (128, 64)

    for how, words in {
        "motion": "photos of a folder do not move",
        "magic": "give yolo:MODEL.onnx with the path of a detector, or command:PROGRAM",
        "yolo:": "yolo:MODEL.onnx",
        "command:": "command is empty",
        "command:./missing": "cannot start the detector",
    }.items():
        assert_refused(label("--detect", how), words)
    assert_refused(label("--detect", "command:true", "--detect-classes", "bird"), "is for --detect yolo")


def test_an_interrupted_run_does_not_wait_for_the_photos_ahead(store, birds, drawn, tmp_path):
    for number in range(80):
        write_photo(tmp_path / "card" / f"{number:02d}.jpg", drawn[0][number % 6])
    asked = []

    def find_slowly(frame):
        asked.append(frame.file)
        if len(asked) > 40:
            time.sleep(0.05)
        return [(0, 0, 128, 128)]

    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_card(store, birds, tmp_path / "card", report=interrupt, detector=find_slowly)
    assert len(asked) < 75
