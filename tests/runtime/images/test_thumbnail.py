"""Thumbnails: small, close to the photo, and refused if they are damaged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.thumbnail import decode_thumbnail, encode_thumbnail
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.mark.parametrize("side", [84, 128])
def test_a_thumbnail_is_close_to_the_photo_and_at_most_a_third_of_its_pixels(side):
    pixels = draw_specimens(range(1), 1, size=side)[0][0]
    data = encode_thumbnail(pixels)
    assert len(data) < pixels.nbytes / 3
    difference = decode_thumbnail(data).astype(float) - pixels
    assert np.sqrt((difference**2).mean()) < 3


def test_damaged_thumbnails_are_refused():
    good = encode_thumbnail(np.zeros((16, 16, 3), np.uint8))
    png, wide = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (16, 16)).save(png, "PNG")
    Image.new("RGB", (32, 16)).save(wide, "JPEG")
    for data in (b"", good[:40], png.getvalue()):
        with pytest.raises(ImageError, match="a thumbnail is damaged"):
            decode_thumbnail(data)
    with pytest.raises(ImageError, match="has 32x16 pixels"):
        decode_thumbnail(wide.getvalue())
