"""`hmdrn watch --detect`: subjects found by motion or by a detector in ONNX."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest
from drawn_detectors import write_detector
from outcomes import assert_refused
from PIL import Image

from benchmarks.motion.film import Conditions, Film, FilmSettings
from hmdrn.watching.tracker import compute_iou


@pytest.fixture
def watch(hmdrn, site):
    def call(source, *options):
        return hmdrn(
            "watch", "default", "--gallery", site.gallery, "--source", source, "--threads", 1, *options
        )

    return call


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("detector") / "yolo.onnx", "v8")


@pytest.fixture
def squares(tmp_path):
    """A folder with a photo of 128x64: a red square at the upper left, a blue one at the lower right."""
    image = Image.new("RGB", (128, 64))
    image.paste((255, 0, 0), (0, 0, 32, 32))
    image.paste((0, 0, 255), (96, 32, 128, 64))
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def find_boxes(outcome):
    events = [json.loads(line) for line in outcome.out.splitlines()]
    return [[s["box"] for s in event["sightings"]] for event in events if event["event"] == "frame"]


def test_motion_finds_the_drawn_subject_of_a_film(watch, site, tmp_path):
    subject = np.asarray(Image.open(site.photos[0]))[..., ::-1]
    settings = FilmSettings(8, 6, (160, 90), heights=(0.4, 0.4), visits=(3.5, 3.5), seed=2)
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 6, settings.size)
    truths = []
    for pixels, truth, _ in Film([subject], settings, Conditions(leaves=5, cloud=0)):
        writer.write(pixels)
        truths.append([box for _, box in truth])
    writer.release()
    boxes = find_boxes(watch(tmp_path / "a.avi", "--detect", "motion", "--all"))
    assert len(boxes) == len(truths)
    pairs = [(found, true) for found, true in zip(boxes, truths, strict=True) if found and true]
    assert len(pairs) > 10
    assert np.mean([compute_iou(found[0], true[0]) for found, true in pairs]) > 0.5


def test_a_yolo_detector_finds_the_classes_that_are_wanted(watch, detector, squares):
    (both,) = find_boxes(watch(squares, "--detect", f"yolo:{detector}", "--all"))
    assert sorted(both) == [[0, 0, 32, 32], [96, 32, 128, 64]]
    (cats,) = find_boxes(watch(squares, "--detect", f"yolo:{detector}", "--detect-classes", "cat", "--all"))
    assert cats == [[96, 32, 128, 64]]


def test_a_program_finds_the_subjects_of_the_photos_of_a_folder(watch, site, squares, tmp_path):
    line = '{"boxes": [[0, 0, 32, 32]]}'
    (tmp_path / "find.py").write_text(f"import sys\nfor path in sys.stdin: print({line!r}, flush=True)\n")
    command = f"command:{sys.executable} {tmp_path / 'find.py'}"
    assert find_boxes(watch(squares, "--detect", command, "--all")) == [[[0, 0, 32, 32]]]
    assert_refused(watch(site.film, "--detect", command), "photos of a folder", "--boxes")


def test_options_of_a_detector_that_do_not_fit_are_refused(watch, site, squares, detector, tmp_path):
    yolo = f"yolo:{detector}"
    assert_refused(watch(squares, "--detect", "motion"), "needs a camera or a film")
    assert_refused(watch(site.film, "--detect", "magic"), "--detect is 'magic'", "motion", "yolo:MODEL.onnx")
    assert_refused(watch(site.film, "--detect", "yolo:"), "yolo:MODEL.onnx")
    assert_refused(watch(site.film, "--detect", f"yolo:{tmp_path}/missing.onnx"), "no such detector")
    assert_refused(watch(site.film, "--detect", yolo, "--detect-classes", "dog"), "no class 'dog'")
    assert_refused(watch(site.film, "--detect", "motion", "--detect-classes", "bird"), "yolo:MODEL.onnx")
    assert_refused(watch(site.film, "--ignore", "0,0,9,9"), "--ignore is for --detect motion")
    assert_refused(watch(site.film, "--detect", "motion", "--ignore", "1,2,3"), "--ignore")
    assert_refused(watch(site.film, "--detect", yolo, "--boxes", "-"), "--detect or --boxes")
    assert_refused(watch(site.film, "--detect", "motion", "--region", "0,0,9,9"), "a region or boxes")
