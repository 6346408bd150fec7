"""Photos that are only classified: as the reference prepares them, but sooner."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
from preprocessings import CROP

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import (
    PREPROCESSING_MODES,
    Preprocessing,
    crop_box,
    prepare,
    preprocess,
)
from hmdrn_runtime.images.query_preprocessing import prepare_boxes, prepare_query
from hmdrn_runtime.specimens.drawing import draw_specimens

SIZES = [(1920, 1080), (1080, 1920), (640, 480), (368, 368), (1283, 719)]
WAYS = [Preprocessing(mode, side) for mode in PREPROCESSING_MODES for side in (84, 128)]


def drawn(width: int, height: int) -> np.ndarray:
    """A specimen as a camera shows it, with noise."""
    image = PIL.Image.fromarray(draw_specimens([3], 1, size=256)[0][0])
    large = np.asarray(image.resize((width, height), PIL.Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 8, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("preprocessing", WAYS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_a_large_photo_is_within_1_of_255_of_the_reference(preprocessing, size):
    frame = drawn(*size)
    stream = BytesIO()
    PIL.Image.fromarray(frame).save(stream, "JPEG", quality=90)
    for source in (frame, PIL.Image.fromarray(frame), stream.getvalue()):
        fast = prepare_query(source, preprocessing)
        assert fast.shape == (preprocessing.side, preprocessing.side, 3)
        assert fast.flags.c_contiguous
        assert fast.flags.owndata
        assert difference(fast, prepare(source, preprocessing)) < 1


def test_an_array_and_its_image_give_the_same_result():
    frame = drawn(1920, 1080)
    result = prepare_query(frame, CROP)
    assert np.array_equal(prepare_query(PIL.Image.fromarray(frame), CROP), result)


def test_a_frame_in_any_memory_layout_gives_the_same_result():
    frame = drawn(1280, 720)
    expected = prepare_query(frame, CROP)
    padded = np.zeros((720, 1344, 3), np.uint8)
    padded[:, :1280] = frame
    layouts = {
        "rows that a camera pads": padded[:, :1280],
        "OpenCV's order of colors, turned around": frame[..., ::-1].copy()[..., ::-1],
        "upside down": frame[::-1].copy()[::-1],
        "mirrored": frame[:, ::-1].copy()[:, ::-1],
        "columns first": np.asfortranarray(frame),
        "of four channels": np.dstack([frame, frame[..., :1]])[..., :3],
        "every other row": np.repeat(frame, 2, axis=0)[::2],
    }
    for name, layout in layouts.items():
        assert np.array_equal(prepare_query(layout, CROP), expected), name
    one_row = np.broadcast_to(frame[:1], frame.shape)
    assert np.array_equal(prepare_query(one_row, CROP), prepare_query(one_row.copy(), CROP))


@pytest.mark.parametrize("preprocessing", WAYS, ids=str)
def test_a_small_photo_is_prepared_as_the_reference_does(preprocessing):
    frame = np.random.default_rng(0).integers(0, 256, (360, 500, 3), dtype=np.uint8)
    for source in (frame, PIL.Image.fromarray(frame), frame[: preprocessing.side, : preprocessing.side]):
        assert np.array_equal(prepare_query(source, preprocessing), prepare(source, preprocessing))


@pytest.mark.parametrize("preprocessing", WAYS, ids=str)
def test_boxes_match_the_reference_of_the_cut_out_parts(preprocessing):
    frame = drawn(1280, 720)
    boxes = [(0, 0, 1280, 720), (-50.4, 10.5, 400, 420), (700, 100, 1300, 700), (30, 40, 130, 120)]
    expected = [preprocess(crop_box(load_image(frame), box), preprocessing) for box in boxes]
    for source in (frame, PIL.Image.fromarray(frame)):
        result = prepare_boxes(source, boxes, preprocessing)
        assert all(difference(one, other) < 1 for one, other in zip(result, expected, strict=True))
        assert np.array_equal(result[3], expected[3])  # small: the same to the last bit


def test_pixels_outside_a_box_are_ignored():
    frame = drawn(1280, 720)
    around = frame.copy()
    around[:100], around[:, :300], around[600:], around[:, 900:] = 0, 255, 0, 255
    box = (300, 100, 900, 600)
    assert np.array_equal(prepare_boxes(frame, [box], CROP), prepare_boxes(around, [box], CROP))


@pytest.mark.parametrize("frame", [np.zeros((500, 500)), np.zeros((3, 500, 500), np.uint8)])
def test_a_non_image_is_refused_with_the_message_of_the_reference(frame):
    with pytest.raises(ImageError) as error:
        prepare(frame, CROP)
    for call in (lambda: prepare_query(frame, CROP), lambda: prepare_boxes(frame, [(0, 0, 9, 9)], CROP)):
        with pytest.raises(ImageError, match=re.escape(str(error.value))):
            call()


@pytest.mark.parametrize("box", [(90, 0, 99, 20), (0, 0, 80, 2), (0, 0, 10), (0, 0, 0, 9)])
def test_a_bad_box_names_the_photo_once(tmp_path, box):
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    PIL.Image.fromarray(frame).save(tmp_path / "photo.png")
    with pytest.raises(ImageError) as caught:
        prepare_boxes(tmp_path / "photo.png", [(0, 0, 20, 20), box], CROP)
    assert str(caught.value).count("photo.png") == 1
    assert "<PIL image" not in str(caught.value)
    assert "\n" not in str(caught.value)
