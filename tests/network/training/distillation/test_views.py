from __future__ import annotations

import numpy as np
from PIL import Image

from hmdrn_network.training.distillation.cache import augmented_view, center_square


def photos(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)


def test_a_view_depends_on_group_block_and_number_alone():
    view = augmented_view(photos(), "birds", 0, 0, 32)
    assert view.shape == (3, 32, 32, 3)
    assert view.dtype == np.float32
    assert 0 <= view.min() < view.max() <= 255
    np.testing.assert_array_equal(view, augmented_view(photos(), "birds", 0, 0, 32))
    for other in (("dogs", 0, 0), ("birds", 64, 0), ("birds", 0, 1)):
        assert not np.array_equal(view, augmented_view(photos(), *other, 32))


def test_the_photos_themselves_are_not_changed():
    given = photos()
    augmented_view(given, "birds", 0, 0, 32)
    np.testing.assert_array_equal(given, photos())


def test_a_wide_photo_is_cut_to_its_center():
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200
    square = center_square(Image.fromarray(pixels), 20)
    assert square.shape == (20, 20, 3)
    assert square.min() == 200


def test_the_shorter_side_is_resized_whatever_the_orientation():
    for size in ((30, 90), (90, 30), (16, 16)):
        assert center_square(Image.new("RGB", size), 24).shape == (24, 24, 3)
