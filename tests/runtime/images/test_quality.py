from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from hmdrn_runtime.images.quality import PreparedPhoto, is_near_duplicate, measure_quality, prepare_photo
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(draw_specimens([0], 1, size=200)[0][0])


def doubts(image: Image.Image) -> tuple[str, ...]:
    return measure_quality(prepare_photo(image, "crop")).doubts


def test_a_sharp_and_well_lit_photo_has_nothing_against_it(photo):
    assert doubts(photo) == ()


def test_a_blurred_photo_is_called_blurred_in_whatever_light(photo):
    blurred = photo.filter(ImageFilter.GaussianBlur(8))
    assert doubts(blurred) == ("blurred",)
    assert "blurred" in doubts(blurred.point(lambda v: v // 2))


def test_a_photo_in_the_dark_and_a_blown_out_one_are_told(photo):
    assert doubts(photo.point(lambda v: v // 12)) == ("too dark",)
    assert "blown out" in doubts(photo.point(lambda v: min(255, 8 * v)))


def test_a_small_source_is_told_with_its_size(photo):
    assert any("too small (30 pixels)" in d for d in doubts(photo.resize((30, 40))))
    assert not any("small" in d for d in doubts(photo.resize((84, 84))))


def test_a_plain_picture_is_blurred_and_no_division_by_zero():
    assert measure_quality(prepare_photo(Image.new("RGB", (90, 90), (90, 90, 90)), "crop")).sharpness == 0


def test_a_photo_saved_again_is_the_same_and_another_is_not(photo):
    one = prepare_photo(photo, "crop").pixels
    noise = np.random.default_rng(0).integers(-2, 3, one.shape)
    again = np.clip(one.astype(int) + noise, 0, 255).astype(np.uint8)
    assert is_near_duplicate(one, again)
    assert not is_near_duplicate(
        one, prepare_photo(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "crop").pixels
    )


def test_what_was_made_ready_is_taken_as_it_is(photo):
    sight = prepare_photo(photo, "crop", "a.jpg")
    assert prepare_photo(sight, "squash") is sight
    assert (sight.name, sight.side) == ("a.jpg", 200)
    assert isinstance(sight, PreparedPhoto)
