from __future__ import annotations

import hashlib

import numpy as np
import PIL.Image
import pytest
from drawn_images import BLUE, GREEN, RED, YELLOW, corners, encoded, is_one_line, noise, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessings import CROP, SQUASH

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import (
    PREPROCESSING_MODES,
    Preprocessing,
    crop_box,
    hash_pixels,
    prepare,
    preprocess,
)

WAYS = [Preprocessing(mode, side) for mode in PREPROCESSING_MODES for side in (84, 128)]


def test_a_box_is_cut_out_exactly():
    array = noise(60, 80)
    cut = crop_box(PIL.Image.fromarray(array), (10, 20, 50, 45))
    assert np.array_equal(np.asarray(cut), array[20:45, 10:50])


def test_a_box_is_rounded_and_clipped():
    array = noise(60, 80)
    image = PIL.Image.fromarray(array)
    assert np.array_equal(np.asarray(crop_box(image, (9.6, 20.4, 49.5001, 44.6))), array[20:45, 10:50])
    assert np.array_equal(np.asarray(crop_box(image, (-5, -1e300, 30, 20))), array[:20, :30])
    assert np.array_equal(np.asarray(crop_box(image, (70, 50, 1e9, 61))), array[50:, 70:])
    assert np.array_equal(np.asarray(crop_box(image, tuple(np.float32([0, 0, 80, 60])))), array)


def test_cutting_a_box_leaves_the_image_alone():
    image = picture()
    before = image.tobytes()
    crop_box(image, (0, 0, 40, 30)).paste((0, 0, 0), (0, 0, 40, 30))
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, float("nan"), 20), "is not finite"),
        ((0, 0, float("inf"), 20), "is not finite"),
        ((20, 0, 20, 20), "is empty"),
        ((20, 0, 10, 20), "is empty"),
        ((0, 20, 20, 10), "is empty"),
        ((0, 0, 7, 20), "covers 7x20 pixels"),
        ((75, 0, 200, 20), "covers 5x20 pixels"),
        ((80, 0, 100, 20), "lies outside"),
        ((-100, 0, -10, 20), "lies outside"),
        ((0, 60, 20, 100), "lies outside"),
        ((10, 10.1, 40, 10.4), "covers 30x0 pixels"),
        ((79.8, 0, 100, 20), "covers 0x20 pixels"),
        ((0, 0, 10), "is not four numbers"),
        ((0, 0, 10, 10, 10), "is not four numbers"),
        ((0, 0, "a", 10), "is not four numbers"),
        ((0, 0, 10**400, 10), "is not four numbers"),
        (5, "is not four numbers"),
        (None, "is not four numbers"),
    ],
)
def test_a_box_that_cannot_be_cut_out_is_refused(box, message):
    with pytest.raises(ImageError, match=message) as caught:
        crop_box(picture(60, 80), box)
    assert is_one_line(caught.value)


def test_a_box_is_cut_out_of_the_upright_image():
    stored = corners((RED, GREEN, BLUE, YELLOW))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    # Turned clockwise: blue is upper left of 20 x 40.
    upright = load_image(encoded(stored, "PNG", exif=exif))
    pixels = preprocess(crop_box(upright, (0, 0, 10, 20)), SQUASH)
    assert pixels[42, 42].tolist() == list(BLUE)


def test_an_image_that_is_not_rgb_is_refused_with_advice():
    for call in (lambda image: crop_box(image, (0, 0, 9, 9)), lambda image: preprocess(image, CROP)):
        with pytest.raises(ImageError, match="is not RGB"):
            call(PIL.Image.new("L", (30, 30)))


def triangle_weights(source: int, target: int) -> np.ndarray:
    """(target, source) weights of a bilinear resize that widens its triangle when it shrinks."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / support
    weights = np.clip(1.0 - distance, 0.0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def network_input_by_hand(array: np.ndarray, mode: str, side: int) -> np.ndarray:
    """The rule of torchvision's transforms, in float arithmetic of our own."""
    height, width, _ = array.shape
    resize = round(side * 92 / 84)
    if mode == "squash":
        new_height, new_width = resize, resize
    else:
        short, long = min(height, width), max(height, width)
        new_long = int(resize * long / short)
        new_height, new_width = (new_long, resize) if width <= height else (resize, new_long)
    rows, columns = triangle_weights(height, new_height), triangle_weights(width, new_width)
    # Pillow works across, rounds to 8 bits, then down.
    across = np.floor(np.einsum("xw,hwc->hxc", columns, array) + 0.5)
    resized = np.floor(np.einsum("yh,hxc->yxc", rows, across) + 0.5)
    top, left = round((new_height - side) / 2.0), round((new_width - side) / 2.0)
    return np.clip(resized, 0, 255)[top : top + side, left : left + side]


@pytest.mark.parametrize("preprocessing", WAYS, ids=str)
@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 260),
    width=st.integers(8, 260),
    seed=st.integers(0, 1000),
)
def test_preprocessing_follows_the_rule_of_the_training_at_any_size(preprocessing, height, width, seed):
    side = preprocessing.side
    if max(height, width) > 20 * min(height, width) or (height, width) == (side, side):
        return
    array = noise(height, width, seed)
    pixels = preprocess(PIL.Image.fromarray(array), preprocessing)
    assert pixels.shape == (side, side, 3)
    # Pillow's weights are fixed-point numbers: it may round the other way.
    difference = np.abs(pixels - network_input_by_hand(array, preprocessing.mode, side))
    # Pillow rounds after each of its two passes: one step each at most, and rarely both.
    assert difference.max() <= 2
    assert difference.mean() < 0.5


@pytest.mark.parametrize(
    ("size", "left", "top"),
    [((92, 92), 4, 4), ((93, 92), 4, 4), ((95, 92), 6, 4), ((92, 97), 4, 6), ((99, 92), 8, 4)],
)
def test_the_centre_is_cut_out_with_halves_to_even(size, left, top):
    array = noise(size[1], size[0])
    pixels = preprocess(PIL.Image.fromarray(array), CROP)
    assert np.array_equal(pixels, array[top : top + 84, left : left + 84])


@pytest.mark.parametrize("preprocessing", WAYS, ids=str)
def test_an_image_of_the_inputs_size_is_used_unchanged(preprocessing):
    side = preprocessing.side
    array, wider = noise(side, side), noise(side, side + 1)
    assert np.array_equal(prepare(array, preprocessing), array)
    assert not np.array_equal(prepare(wider, preprocessing), wider[:, :side])


@pytest.mark.parametrize("preprocessing", WAYS, ids=str)
@pytest.mark.parametrize("shape", [(84, 84), (100, 130), (30, 20)])
def test_the_network_input_is_contiguous_and_owned(preprocessing, shape):
    array = noise(*shape)
    pixels = prepare(array, preprocessing)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.owndata
    assert pixels.flags.writeable
    assert not np.shares_memory(pixels, array)


def test_crop_keeps_the_aspect_and_squash_does_not():
    array = np.zeros((100, 300, 3), np.uint8)
    array[:, 100:200] = 255
    assert prepare(array, CROP).min() > 0
    squashed = prepare(array, SQUASH)
    assert squashed[40, 0, 0] == 0
    assert squashed[40, 42, 0] == 255


def test_an_unknown_mode_is_refused_with_the_choices():
    with pytest.raises(ImageError, match="unknown preprocessing 'stretch': choose one of crop, squash"):
        Preprocessing("stretch", 84)


def test_an_input_without_pixels_is_refused():
    with pytest.raises(ImageError, match="network input of 0 pixels"):
        Preprocessing("crop", 0)


@pytest.mark.parametrize(("side", "resize"), [(84, 92), (112, 123), (128, 140), (160, 175), (224, 245)])
def test_every_side_is_resized_in_the_papers_proportion(side, resize):
    assert Preprocessing("crop", side).resize == resize


def test_a_very_long_box_is_refused_before_it_is_resized():
    with pytest.raises(ImageError, match="over 20 times"):
        preprocess(crop_box(load_image(noise(400, 400)), (0, 0, 8, 400)), CROP)


def test_prepare_is_its_two_parts():
    array = noise(120, 200)
    assert np.array_equal(prepare(array, CROP), preprocess(load_image(array), CROP))


def test_the_digest_is_the_sha_256_of_the_pixels():
    pixels = noise(84, 84)
    assert hash_pixels(pixels) == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert hash_pixels(np.asfortranarray(pixels)) == hash_pixels(pixels)
    assert hash_pixels(pixels[::-1]) != hash_pixels(pixels)


def test_the_digest_of_anything_but_a_network_input_is_refused():
    for pixels in (noise(85, 84), np.zeros((84, 84, 3), np.float32), np.zeros((84, 84), np.uint8)):
        with pytest.raises(ImageError, match="is not a network input"):
            hash_pixels(pixels)
