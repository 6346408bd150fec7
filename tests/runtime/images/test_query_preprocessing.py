"""Photos that are only classified: as the reference prepares them, but sooner."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
import PIL.Image
import pytest

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.preprocessing import PREPROCESSINGS, crop_box, load_image, prepare, preprocess
from hmdrn_runtime.images.query_preprocessing import prepare_boxes, prepare_query
from hmdrn_runtime.specimens.drawing import draw_specimens

SIZES = [(1920, 1080), (1080, 1920), (640, 480), (368, 368), (1283, 719)]


def drawn(width: int, height: int) -> np.ndarray:
    """A specimen as a camera shows it, with noise."""
    image = PIL.Image.fromarray(draw_specimens([3], 1, size=256)[0][0])
    large = np.asarray(image.resize((width, height), PIL.Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 8, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("mode", PREPROCESSINGS)
@pytest.mark.parametrize("size", SIZES)
def test_a_large_photo_comes_out_within_1_of_255_of_the_reference(mode, size):
    frame = drawn(*size)
    stream = BytesIO()
    PIL.Image.fromarray(frame).save(stream, "JPEG", quality=90)
    for source in (frame, PIL.Image.fromarray(frame), stream.getvalue()):
        fast = prepare_query(source, mode)
        assert fast.shape == (84, 84, 3)
        assert fast.flags.c_contiguous
        assert fast.flags.owndata
        assert difference(fast, prepare(source, mode)) < 1


def test_an_array_and_the_image_of_it_come_out_the_same():
    frame = drawn(1920, 1080)
    found = prepare_query(frame, "crop")
    assert np.array_equal(prepare_query(PIL.Image.fromarray(frame), "crop"), found)


def test_a_frame_in_any_layout_of_memory_comes_out_the_same():
    frame = drawn(1280, 720)
    expected = prepare_query(frame, "crop")
    padded = np.zeros((720, 1344, 3), np.uint8)
    padded[:, :1280] = frame
    layouts = {
        "rows that a camera pads": padded[:, :1280],
        "OpenCV's order of colours, turned around": frame[..., ::-1].copy()[..., ::-1],
        "upside down": frame[::-1].copy()[::-1],
        "mirrored": frame[:, ::-1].copy()[:, ::-1],
        "columns first": np.asfortranarray(frame),
        "of four channels": np.dstack([frame, frame[..., :1]])[..., :3],
        "every other row": np.repeat(frame, 2, axis=0)[::2],
    }
    for name, layout in layouts.items():
        assert np.array_equal(prepare_query(layout, "crop"), expected), name
    one_row = np.broadcast_to(frame[:1], frame.shape)
    assert np.array_equal(prepare_query(one_row, "crop"), prepare_query(one_row.copy(), "crop"))


@pytest.mark.parametrize("mode", PREPROCESSINGS)
def test_a_small_photo_is_prepared_as_the_reference_does(mode):
    frame = np.random.default_rng(0).integers(0, 256, (360, 500, 3), dtype=np.uint8)
    for source in (frame, PIL.Image.fromarray(frame), frame[:84, :84]):
        assert np.array_equal(prepare_query(source, mode), prepare(source, mode))


@pytest.mark.parametrize("mode", PREPROCESSINGS)
def test_boxes_come_out_as_the_reference_prepares_what_they_cut_out(mode):
    frame = drawn(1280, 720)
    boxes = [(0, 0, 1280, 720), (-50.4, 10.5, 400, 420), (700, 100, 1300, 700), (30, 40, 130, 120)]
    expected = [preprocess(crop_box(load_image(frame), box), mode) for box in boxes]
    for source in (frame, PIL.Image.fromarray(frame)):
        found = prepare_boxes(source, boxes, mode)
        assert all(difference(one, other) < 1 for one, other in zip(found, expected, strict=True))
        assert np.array_equal(found[3], expected[3])  # small: the same to the last bit


def test_nothing_outside_a_box_is_seen():
    frame = drawn(1280, 720)
    around = frame.copy()
    around[:100], around[:, :300], around[600:], around[:, 900:] = 0, 255, 0, 255
    box = (300, 100, 900, 600)
    assert np.array_equal(prepare_boxes(frame, [box], "crop"), prepare_boxes(around, [box], "crop"))


@pytest.mark.parametrize("frame", [np.zeros((500, 500)), np.zeros((3, 500, 500), np.uint8)])
def test_what_is_no_image_is_refused_as_the_reference_does(frame):
    with pytest.raises(ImageError) as error:
        prepare(frame, "crop")
    for call in (lambda: prepare_query(frame, "crop"), lambda: prepare_boxes(frame, [(0, 0, 9, 9)], "crop")):
        with pytest.raises(ImageError, match=re.escape(str(error.value))):
            call()


def test_an_unknown_mode_is_refused():
    with pytest.raises(ImageError, match="unknown preprocessing 'stretch'"):
        prepare_query(drawn(640, 480), "stretch")


@pytest.mark.parametrize("box", [(90, 0, 99, 20), (0, 0, 80, 2), (0, 0, 10), (0, 0, 0, 9)])
def test_a_bad_box_names_the_photo_once(tmp_path, box):
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    PIL.Image.fromarray(frame).save(tmp_path / "photo.png")
    with pytest.raises(ImageError) as caught:
        prepare_boxes(tmp_path / "photo.png", [(0, 0, 20, 20), box], "crop")
    assert str(caught.value).count("photo.png") == 1
    assert "<PIL image" not in str(caught.value)
    assert "\n" not in str(caught.value)
