from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
from drawn_images import BLUE, GREEN, RED, YELLOW, corners, encoded, is_one_line, noise, picture, png_header

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import MAX_PIXELS, load_image


@pytest.mark.parametrize("source", [None, 3, [1, 2], BytesIO(b"x"), {}])
def test_a_source_of_an_unknown_type_is_refused(source):
    with pytest.raises(ImageError, match=f"cannot read an image from <{type(source).__name__}>"):
        load_image(source)


def test_a_side_under_8_pixels_is_refused_and_8_is_accepted():
    assert load_image(picture(8, 9)).size == (9, 8)
    for source in (picture(7, 40), noise(40, 7), encoded(picture(7, 7), "PNG")):
        with pytest.raises(ImageError, match="each side must have at least 8"):
            load_image(source)


def test_too_many_pixels_are_refused_in_pillow_images_and_arrays():
    base = np.zeros((1, 1, 3), np.uint8)
    with pytest.raises(ImageError, match=f"more than {MAX_PIXELS}"):
        load_image(np.broadcast_to(base, (10_001, 10_000, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = PIL.Image.open(BytesIO(png_header(10_001, 10_000, 1, 0)))
    with pytest.raises(ImageError, match=f"more than {MAX_PIXELS}"):
        load_image(lazy)


def test_an_aspect_over_20_is_refused_and_20_is_accepted():
    assert load_image(picture(10, 200)).size == (200, 10)
    assert load_image(picture(200, 10)).size == (10, 200)
    for source in (picture(10, 201), noise(201, 10)):
        with pytest.raises(ImageError, match="over 20 times"):
            load_image(source)


# Where the stored picture's row 0 and column 0 lie on the upright one, by the EXIF specification: the
# array transformation that brings the stored picture upright.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF packed", "Pillow", "Pillow PNG"])
def test_exif_orientation_is_applied_once(kind, orientation):
    stored = corners((RED, GREEN, BLUE, YELLOW))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif}
    if kind == "WEBP":
        options["lossless"] = True
    if kind == "TIFF packed":
        options["compression"] = "tiff_lzw"
    if kind == "JPEG":
        options |= {"quality": 100, "subsampling": 0}
    file_format = {"TIFF packed": "TIFF", "Pillow": "JPEG", "Pillow PNG": "PNG"}.get(kind, kind)
    data = encoded(stored, file_format, **options)
    source = PIL.Image.open(BytesIO(data)) if kind.startswith("Pillow") else data
    loaded = load_image(source)
    expected = UPRIGHT[orientation](np.asarray(stored))
    assert loaded.size == (expected.shape[1], expected.shape[0])
    # JPEG blends colors at the borders of the quadrants, which are no borders of its blocks.
    offset = np.abs(np.asarray(loaded).astype(int) - expected)
    assert np.median(offset) <= 2
    assert offset[2, 2].max() <= 40
    assert offset[-3, -3].max() <= 40
    assert offset[2, -3].max() <= 40
    again = load_image(loaded)
    assert np.array_equal(np.asarray(again), np.asarray(loaded))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_counts_as_upright(value):
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    assert load_image(encoded(picture(), "PNG", exif=exif)).size == (40, 30)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "broken",
    [
        b"Exif\0\0",
        b"Exif\0\0II",
        b"Exif\0\0garbage that is no TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x63\0\0\0\x01\0\x06\0\0\0\0\0\0",
    ],
)
def test_a_broken_exif_block_does_not_fail_the_image(file_format, broken):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_image(encoded(picture(), file_format, exif=broken)).size == (40, 30)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_read(file_format):
    frames = [PIL.Image.new("RGB", (20, 20), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(load_image(data))[10, 10].tolist() == list(RED)


def test_a_phones_multi_picture_jpeg_is_read():
    frames = [PIL.Image.new("RGB", (20, 20), color) for color in (RED, GREEN)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(load_image(data))[10, 10].astype(int) - RED).max() < 5


def sample(kind: str) -> PIL.Image.Image:
    """A picture of 40 x 30 in a mode of Pillow; "P transparent" has a transparent color."""
    if kind == "I;16":
        return PIL.Image.frombytes("I;16", (40, 30), noise(30, 80).tobytes()[:2400])
    if not kind.startswith("P"):
        return picture().convert(kind)
    image = picture().quantize(16)
    if kind == "P transparent":
        image.info["transparency"] = 3
    return image


def state(image: PIL.Image.Image) -> tuple[object, ...]:
    palette = image.getpalette("RGBA") if image.mode == "P" else None
    return image.tobytes(), image.mode, image.size, dict(image.info), palette


@pytest.mark.parametrize("kind", ["RGB", "L", "P", "P transparent", "RGBA", "I;16"])
def test_a_pillow_image_is_not_modified_nor_shared(kind):
    image = sample(kind)
    image.getexif()[0x0112] = 6
    before = state(image)
    loaded = load_image(image)
    assert loaded.size == (30, 40)
    loaded.paste((1, 2, 3), (0, 0, 30, 40))
    assert state(image) == before
    assert image.getexif()[0x0112] == 6


def test_a_truncated_lazy_pillow_image_is_refused():
    image = PIL.Image.open(BytesIO(encoded(picture(100, 100), "JPEG")[:2000]))
    with pytest.raises(ImageError, match="<PIL image 100x100 RGB> cannot be decoded"):
        load_image(image)


def test_an_array_is_read_as_rgb_and_copied():
    array = noise(30, 40)
    loaded = load_image(array)
    assert np.array_equal(np.asarray(loaded), array)
    before = np.asarray(loaded).copy()
    array[:] = 0
    assert np.array_equal(np.asarray(loaded), before)


def test_views_of_arrays_work():
    array = noise(60, 80)
    read_only = array.copy()
    read_only.flags.writeable = False
    for view in (
        array[::2, ::2],
        array[::-1],
        array[:, ::-1],
        array[..., ::-1],
        array.transpose(1, 0, 2),
        np.asfortranarray(array),
        read_only,
        np.ma.masked_array(array),
    ):
        assert np.array_equal(np.asarray(load_image(view)), np.asarray(view))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((30, 40, 3), np.float32), r"is of type float32: pass an RGB uint8 array"),
        (np.full((30, 40, 3), np.nan), r"holds NaN: pass an RGB uint8 array"),
        (np.zeros((30, 40, 3), np.int64), r"is of type int64: .*astype"),
        (np.zeros((30, 40, 3), bool), r"is of type bool"),
        (np.full((30, 40, 3), None), r"is of type object"),
        (np.zeros((30, 40, 4), np.uint8), r"\(30, 40, 4\) uint8> has 4 channels: .*\[\.\.\., :3\]"),
        (np.zeros((3, 30, 40), np.uint8), r"\(3, 30, 40\) uint8> has its channels first: .*transpose"),
        (np.zeros((30, 40), np.uint8), r"has 1 channel: .*dstack"),
        (np.zeros((30, 40, 1), np.uint8), r"has 1 channel"),
        (np.zeros((30, 40, 2), np.uint8), r"\(30, 40, 2\) uint8> is not shaped like an image"),
        (np.zeros((1, 30, 40, 3), np.uint8), r"\(1, 30, 40, 3\) uint8> is not shaped like an image"),
        (np.zeros((), np.uint8), r"<array \(\) uint8> is not shaped like an image"),
        (np.zeros((0, 40, 3), np.uint8), r"is 40x0 pixels"),
        (np.zeros((40, 0, 3), np.uint8), r"is 0x40 pixels"),
    ],
)
def test_an_array_of_another_kind_is_refused_with_advice(array, message):
    with pytest.raises(ImageError, match=message) as caught:
        load_image(array)
    assert is_one_line(caught.value)
