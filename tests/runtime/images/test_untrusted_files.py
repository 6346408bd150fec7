from __future__ import annotations

import struct
import tracemalloc
import warnings

import PIL.Image
import pytest
from drawn_images import encoded, is_one_line, picture, png_header, smooth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageFile

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import MAX_PIXELS, load_image


def loads_or_is_refused(data: bytes) -> bool:
    try:
        image = load_image(data)
    except ImageError as error:
        return is_one_line(error)
    return image.mode == "RGB"


@pytest.fixture(scope="module")
def whole_files() -> list[bytes]:
    image = PIL.Image.fromarray(smooth(24, 32))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(image, "JPEG", exif=exif),
        encoded(image, "JPEG", progressive=True),
        encoded(image, "PNG", exif=exif),
        encoded(image.quantize(16), "PNG", transparency=3),
        encoded(image, "WEBP"),
        encoded(image.quantize(16), "GIF"),
        encoded(image, "TIFF", compression="tiff_lzw"),
        encoded(image, "TIFF"),
        encoded(image, "BMP"),
        encoded(image, "PPM"),
    ]


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_mutated_files_load_or_raise_an_image_error(whole_files, data):
    mutated = bytearray(data.draw(st.sampled_from(whole_files)))
    # Headers are where the trouble is: half of the changes go to the first 64 bytes.
    places = st.one_of(st.integers(0, 63), st.integers(0, len(mutated) - 1))
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        mutated[min(place, len(mutated) - 1)] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loads_or_is_refused(bytes(mutated))


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=64),
    st.sampled_from([b"", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0", b"P6 "]),
)
def test_arbitrary_bytes_load_or_raise_an_image_error(data, beginning):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loads_or_is_refused(beginning + data)


def test_a_huge_png_is_refused_from_its_header(monkeypatch):
    loads = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: loads.append(self))
    data = png_header(30_000, 30_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        try:
            with pytest.raises(ImageError, match=f"30000x30000 pixels, more than {MAX_PIXELS}"):
                load_image(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 2_000_000
    assert loads == []


@pytest.mark.parametrize(
    ("side", "message"), [(13_000, f"more than {MAX_PIXELS}"), (16_383, str(MAX_PIXELS))]
)
def test_a_webp_that_claims_a_huge_canvas_is_refused_from_its_header(side, message):
    # An animation whose one frame covers a corner of the canvas, whose width - 1 and height - 1 come in
    # 24 bits each.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data

    canvas = chunk(b"VP8X", b"\x02\0\0\0" + (side - 1).to_bytes(3, "little") * 2)
    place = bytes(6) + (39).to_bytes(3, "little") + (29).to_bytes(3, "little") + bytes(4)
    frame = chunk(b"ANMF", place + encoded(picture(30, 40), "WEBP")[12:])
    data = chunk(b"RIFF", b"WEBP" + canvas + chunk(b"ANIM", bytes(6)) + frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=message):
            load_image(data)


def test_pillows_own_limit_lies_above_ours():
    assert PIL.Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS < PIL.Image.MAX_IMAGE_PIXELS
