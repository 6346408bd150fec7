from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from preprocessings import CROP, SQUASH

from hmdrn_runtime.images.quality import PreparedPhoto, is_near_duplicate, measure_quality, prepare_photo
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(draw_specimens([0], 1, size=200)[0][0])


def issues(image: Image.Image) -> tuple[str, ...]:
    return measure_quality(prepare_photo(image, CROP)).issues


def test_a_sharp_and_well_lit_photo_has_no_issues(photo):
    assert issues(photo) == ()


def test_a_blurred_photo_is_called_blurred_at_any_brightness(photo):
    blurred = photo.filter(ImageFilter.GaussianBlur(8))
    assert issues(blurred) == ("blurred",)
    assert "blurred" in issues(blurred.point(lambda v: v // 2))


def test_a_dark_photo_and_a_blown_out_photo_are_named(photo):
    assert issues(photo.point(lambda v: v // 12)) == ("too dark",)
    assert "blown out" in issues(photo.point(lambda v: min(255, 8 * v)))


def test_a_small_source_is_named_with_its_size(photo):
    assert any("too small (30 pixels)" in d for d in issues(photo.resize((30, 40))))
    assert not any("small" in d for d in issues(photo.resize((84, 84))))


def test_a_plain_image_has_zero_sharpness_without_a_division_error():
    assert measure_quality(prepare_photo(Image.new("RGB", (90, 90), (90, 90, 90)), CROP)).sharpness == 0


def test_a_photo_saved_again_is_the_same_and_another_is_not(photo):
    one = prepare_photo(photo, CROP).pixels
    noise = np.random.default_rng(0).integers(-2, 3, one.shape)
    again = np.clip(one.astype(int) + noise, 0, 255).astype(np.uint8)
    assert is_near_duplicate(one, again)
    assert not is_near_duplicate(
        one, prepare_photo(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), CROP).pixels
    )


def test_a_prepared_photo_is_returned_unchanged(photo):
    sight = prepare_photo(photo, CROP, "a.jpg")
    assert prepare_photo(sight, SQUASH) is sight
    assert (sight.name, sight.shorter_side) == ("a.jpg", 200)
    assert isinstance(sight, PreparedPhoto)
