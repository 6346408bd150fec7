"""Detectors in ONNX, against squares whose places are known to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_detectors import NAMES, write_detector
from PIL import Image

import hmdrn
from hmdrn.detectors.letterbox import Letterbox, fit_size
from hmdrn.detectors.onnx_session import OnnxSession
from hmdrn.detectors.yolo_outputs import Detections, decode_output, remove_duplicates
from hmdrn.watching.frames import Frame

RED, BLUE = (255, 0, 0), (0, 0, 255)
LAYOUTS = ("v5", "v8", "end-to-end")


def make_frame(width, height, squares):
    """A black frame with a square of a color at each box."""
    image = Image.new("RGB", (width, height))
    for (x0, y0, x1, y1), color in squares:
        image.paste(color, (x0, y0, x1, y1))
    return Frame(0, 0.0, 0.0, 0.0, np.asarray(image)[..., ::-1].copy())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("half", [False, True])
def test_every_layout_gives_the_same_boxes_to_the_pixel(layout, half, tmp_path):
    detector = hmdrn.OnnxDetector(write_detector(tmp_path / "a.onnx", layout, half=half), min_score=0.9)
    # Half as large in the input, and below a border of 16 lines: on the grid of cells.
    boxes = [(32, 0, 64, 32), (96, 32, 128, 64)]
    assert sorted(detector(make_frame(128, 64, [(boxes[0], RED), (boxes[1], BLUE)]))) == boxes
    assert detector(make_frame(64, 128, [((0, 96, 32, 128), RED)])) == [(0, 96, 32, 128)]
    assert detector(make_frame(128, 64, [])) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_the_chosen_classes_are_kept(layout, tmp_path):
    path = write_detector(tmp_path / "a.onnx", layout)
    frame = make_frame(64, 64, [((0, 0, 16, 16), RED), ((32, 32, 48, 48), BLUE)])
    for classes, boxes in (
        (["bird"], [(0, 0, 16, 16)]),
        (["cat"], [(32, 32, 48, 48)]),
        (["1"], [(32, 32, 48, 48)]),
        (None, [(0, 0, 16, 16), (32, 32, 48, 48)]),
    ):
        assert sorted(hmdrn.OnnxDetector(path, classes)(frame)) == boxes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_input_of_dynamic_size_is_the_smallest_multiple_of_the_stride(layout, tmp_path, monkeypatch):
    metadata = {"names": NAMES, "imgsz": "[128, 128]", "stride": "32"}
    detector = hmdrn.OnnxDetector(write_detector(tmp_path / "a.onnx", layout, side=None, metadata=metadata))
    shapes, run = [], OnnxSession.run
    monkeypatch.setattr(
        OnnxSession, "run", lambda self, image: shapes.append(image.shape) or run(self, image)
    )
    # 256 x 128 becomes 128 x 64, which needs no border.
    assert detector(make_frame(256, 128, [((64, 32, 96, 64), RED)])) == [(64, 32, 96, 64)]
    assert shapes == [(1, 3, 64, 128)]


def test_boxes_over_the_border_are_clipped_to_the_frame(tmp_path):
    detector = hmdrn.OnnxDetector(write_detector(tmp_path / "a.onnx", "v8"), min_score=0.4)
    # 40 of 64 lines in the input: the upper border is 12, so the first row of cells is half border.
    ((x0, y0, x1, y1),) = detector(make_frame(64, 40, [((16, 4, 32, 20), RED)]))
    assert (x0, y0, x1, y1) == (16, 4, 32, 20)
    assert Letterbox((64, 40), (64, 64)).restore(np.array([[0, 0, 90, 90]], np.float32)).tolist() == [
        [0, 0, 64, 40]
    ]


def test_a_letterbox_keeps_the_proportions_and_pads_with_gray():
    letterbox = Letterbox((100, 50), (64, 64))
    pixels = letterbox.apply(Image.new("RGB", (100, 50), (255, 0, 0)))
    assert (letterbox.inner, letterbox.offset, pixels.shape) == ((64, 32), (0, 16), (1, 3, 64, 64))
    assert np.allclose(pixels[0, :, :16], 114 / 255)
    assert np.allclose(pixels[0, :, 48:], 114 / 255)
    assert np.allclose(pixels[0, 0, 16:48], 1)
    assert np.allclose(pixels[0, 1:, 16:48], 0)
    assert fit_size((1920, 1080), 640, 32) == (640, 384)
    assert fit_size((1080, 1920), 640, 32) == (384, 640)


def test_of_overlapping_boxes_the_surest_is_kept_whatever_its_class():
    random = np.random.default_rng(0)
    corners = random.integers(0, 30, (40, 2))
    boxes = np.concatenate([corners, corners + random.integers(4, 20, (40, 2))], axis=1)
    scores = random.random(40).astype(np.float32)
    detections = Detections(boxes.astype(np.float32), scores, random.integers(0, 3, 40))
    pixels = [{(x, y) for x in range(x0, x1) for y in range(y0, y1)} for x0, y0, x1, y1 in boxes.tolist()]
    expected: list[int] = []
    for index in np.argsort(-scores).tolist():
        overlaps = (len(pixels[index] & pixels[i]) / len(pixels[index] | pixels[i]) for i in expected)
        if all(overlap <= 0.4 for overlap in overlaps):
            expected.append(index)
    assert remove_duplicates(detections, 0.4).boxes.tolist() == boxes[expected].tolist()
    assert 5 < len(expected) < 40


def test_the_full_outputs_of_ultralytics_are_told_apart():
    assert len(decode_output(np.zeros((1, 25200, 85), np.float32), 80, False).boxes) == 25200
    assert len(decode_output(np.zeros((1, 25200, 6), np.float32), 1, False).boxes) == 25200
    assert len(decode_output(np.zeros((1, 84, 8400), np.float16), 80, False).boxes) == 8400
    assert len(decode_output(np.zeros((1, 116, 8400), np.float32), 80, False).boxes) == 8400  # with masks
    assert len(decode_output(np.zeros((1, 84, 8400), np.float32), None, False).boxes) == 8400
    assert len(decode_output(np.zeros((1, 300, 6), np.float32), 80, False).boxes) == 300
    row = np.array([[[10, 20, 30, 60, 0.5, 7]]], np.float32)
    only = decode_output(np.repeat(row, 1000, axis=1), 80, True)
    assert (only.boxes[0].tolist(), only.scores[0], only.classes[0]) == ([10, 20, 30, 60], 0.5, 7)
    masks = np.concatenate([row, np.ones((1, 1, 32), np.float32)], axis=2)  # the coefficients of 32 masks
    only = decode_output(np.repeat(masks, 300, axis=1), 1, True)
    assert (only.boxes[0].tolist(), only.scores[0], only.classes[0]) == ([10, 20, 30, 60], 0.5, 7)
    for shape in ((1, 84), (1, 1000, 5), (2, 84, 8400), (1, 3, 640, 640)):
        with pytest.raises(hmdrn.HmdrnError, match="output has the shape"):
            decode_output(np.zeros(shape, np.float32), 80, False)


def test_what_is_wrong_with_a_detector_is_said(tmp_path):
    path = write_detector(tmp_path / "a.onnx", "v8")
    with pytest.raises(hmdrn.HmdrnError, match="no class 'brid': did you mean 'bird'"):
        hmdrn.OnnxDetector(path, ["brid"])
    with pytest.raises(hmdrn.HmdrnError, match="no class 'zebra': it has bird, cat"):
        hmdrn.OnnxDetector(path, ["zebra"])
    with pytest.raises(hmdrn.HmdrnError, match="min_score is 2: give 0 to 1"):
        hmdrn.OnnxDetector(path, min_score=2)
    with pytest.raises(hmdrn.HmdrnError, match="no such detector"):
        hmdrn.OnnxDetector(tmp_path / "missing.onnx")
    with pytest.raises(hmdrn.HmdrnError, match="None cannot be used as a path"):
        hmdrn.OnnxDetector(None)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(hmdrn.BackendError, match=r"could not load the detector .*text\.onnx"):
        hmdrn.OnnxDetector(tmp_path / "text.onnx")
    nameless = write_detector(tmp_path / "b.onnx", "v8", metadata={})
    with pytest.raises(hmdrn.HmdrnError, match="does not name its classes"):
        hmdrn.OnnxDetector(nameless, ["bird"])
    assert hmdrn.OnnxDetector(nameless, ["1"]).names == {}


@pytest.mark.parametrize("names", ["{0: 'bird', 1: 'cat'", "__import__('os')", "3", "{'a': 1}", "[[", "("])
def test_damaged_metadata_count_as_missing(names, tmp_path):
    path = write_detector(
        tmp_path / "a.onnx", "v8", metadata={"names": names, "stride": "'x'", "imgsz": "-1"}
    )
    detector = hmdrn.OnnxDetector(path)
    assert detector.names == {}
    assert detector(make_frame(64, 64, [((0, 0, 16, 16), RED)])) == [(0, 0, 16, 16)]
