from __future__ import annotations

import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from drawn_images import RED, WHITE, encoded, picture, png_header, smooth
from preprocessings import DEFAULT

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.images.source import describe_source


def test_transparency_becomes_white_in_every_mode():
    rgba = np.zeros((10, 10, 4), np.uint8)
    rgba[:5] = (*RED, 255)
    rgba[5:] = (0, 0, 0, 0)
    color = PIL.Image.fromarray(rgba)
    palette = encoded(color.quantize(4), "PNG")
    for source in (color, encoded(color, "PNG"), encoded(color, "WEBP", lossless=True), palette):
        loaded = np.asarray(load_image(source))
        assert np.array_equal(loaded[0, 0], RED)
        assert np.array_equal(loaded[9, 9], WHITE)
    gray = PIL.Image.new("LA", (10, 10), (0, 0))
    for image in (gray, gray.convert("La"), PIL.Image.new("PA", (10, 10), (0, 0))):
        assert np.asarray(load_image(image))[9, 9].tolist() == [255, 255, 255], image.mode
    premultiplied = np.asarray(load_image(color.convert("RGBa")))
    assert premultiplied[0, 0].tolist() == list(RED)
    assert premultiplied[9, 9].tolist() == list(WHITE)


def test_half_transparency_is_blended_with_white():
    image = PIL.Image.new("RGBA", (10, 10), (0, 100, 255, 51))
    assert np.asarray(load_image(image))[4, 4].tolist() == [204, 224, 255]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_transparent_color_without_alpha_becomes_white(mode):
    image = PIL.Image.new("RGB", (20, 20), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 10, 20))
    image = image.convert(mode) if mode != "P" else image.quantize(2)
    black = image.getpixel((0, 0))
    loaded = load_image(encoded(image, "PNG", transparency=black))
    assert np.asarray(loaded).min() == 255


def test_a_transparent_color_in_16_bits_does_not_fail():
    transparent = struct.pack(">I", 6) + b"tRNS" + b"\x12\x34" * 3
    transparent += struct.pack(">I", zlib.crc32(transparent[4:]))
    data = bytearray(png_header(8, 8, 16, 2, rest=transparent))
    pixels = zlib.compress((b"\0" + b"\x80\x00" * 24) * 8)
    start = data.index(b"IDAT") - 4
    end = data.index(b"IEND") - 4
    chunk = b"IDAT" + pixels
    data[start:end] = struct.pack(">I", len(pixels)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert np.asarray(load_image(bytes(data)))[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_other_modes_become_rgb(mode):
    base = PIL.Image.fromarray(smooth(20, 30))
    image = base.convert(mode) if mode != "P" else base.quantize(64)
    loaded = load_image(image)
    assert loaded.mode == "RGB"
    assert np.array_equal(np.asarray(loaded), np.asarray(image.convert("RGB")))


def test_cmyk_jpegs_become_rgb():
    image = PIL.Image.new("RGB", (20, 20), (200, 30, 60)).convert("CMYK")
    loaded = load_image(encoded(image, "JPEG", quality=100))
    assert np.abs(np.asarray(loaded)[10, 10].astype(int) - (200, 30, 60)).max() <= 4


def test_16_bit_gray_is_scaled_and_not_clipped():
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    wide = eight.astype(np.uint16) * 257
    little = PIL.Image.frombytes("I;16", (16, 16), wide.astype("<u2").tobytes())
    sources = [
        little,
        PIL.Image.frombytes("I;16B", (16, 16), wide.astype(">u2").tobytes()),
        PIL.Image.frombytes("I", (16, 16), wide.astype(np.int32).tobytes()),
        encoded(little, "PNG"),
        encoded(little, "TIFF"),
        b"P5 16 16 65535\n" + wide.astype(">u2").tobytes(),
    ]
    for source in sources:
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        assert np.array_equal(np.asarray(loaded), np.dstack([eight] * 3)), describe_source(source)


def test_a_dark_16_bit_file_with_a_bright_spot_stays_dark():
    wide = np.full((16, 16), 300, "<u2")
    wide[0, 0] = 16_384
    loaded = np.asarray(load_image(encoded(PIL.Image.frombytes("I;16", (16, 16), wide.tobytes()), "PNG")))
    assert loaded[0, 0, 0] == 64
    assert loaded[1, 1, 0] == 1


def wide_photo(bits, channels=1):
    """A photo of so many bits in 16, and its highest 8 bits."""
    values = np.random.default_rng(bits).integers(0, 2**bits, (40, 30, channels))
    values[0, 0] = 2**bits - 1
    return values.astype(np.uint16), (values >> (bits - 8)).astype(np.uint8)


def png_of_16_bits(values):
    """A PNG; Pillow writes none of 16 bits for each color."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff_of_16_bits(values, order="<", **tags):
    """A TIFF; Pillow writes none of 16 bits for each color."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    place = 8 + 2 + 12 * (9 + len(tags)) + 4
    entries = {256: width, 257: height, 258: 16, 259: 1, 262: 2 if channels == 3 else 1, 273: place}
    entries |= {277: channels, 278: height, 279: len(data), **{int(k[1:]): v for k, v in tags.items()}}
    if channels == 3:
        entries[258], entries[273] = place, place + 6
    table = b"".join(
        struct.pack(f"{order}HHII", tag, 3, 3, value)
        if tag == 258 and channels == 3
        else struct.pack(f"{order}HHII", tag, 4, 1, value)
        for tag, value in sorted(entries.items())
    )
    depths = struct.pack(f"{order}3H", 16, 16, 16) if channels == 3 else b""
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIH", 42, 8, len(entries)) + table + bytes(4) + depths + data


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_gray_is_scaled_by_the_bits_in_use(bits):
    values, expected = wide_photo(bits)
    flat = values[..., 0]
    image = PIL.Image.frombytes("I;16", (30, 40), flat.astype("<u2").tobytes())
    sources = [image, encoded(image, "PNG"), encoded(image, "TIFF"), png_of_16_bits(values)]
    sources += [PIL.Image.frombytes("I", (30, 40), flat.astype(np.int32).tobytes())]
    for source in sources:
        loaded = np.asarray(load_image(source))
        assert np.array_equal(loaded, np.repeat(expected, 3, axis=2)), describe_source(source)
    data = encoded(image, "PNG")
    assert np.array_equal(prepare(data, DEFAULT), prepare_query(data, DEFAULT))


@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 13, 14, 15, 16])
def test_colors_are_scaled_by_the_bits_in_use(bits):
    values, _ = wide_photo(bits, 3)
    expected = (values >> (bits + bits % 2 - 8)).astype(np.uint8)
    for data in (png_of_16_bits(values), tiff_of_16_bits(values), tiff_of_16_bits(values, ">")):
        assert np.array_equal(np.asarray(load_image(data)), expected)
    opaque = np.dstack([values, np.full((40, 30), 65535, np.uint16)])
    assert np.array_equal(np.asarray(load_image(png_of_16_bits(opaque))), expected)


def test_the_tags_of_a_tiff_say_the_bits_in_use():
    values = np.full((40, 30, 1), 900, np.uint16)  # dark, of 12 bits
    loaded = np.asarray(load_image(tiff_of_16_bits(values, t281=4095)))
    assert (loaded == 900 >> 4).all()
    assert (
        np.asarray(load_image(tiff_of_16_bits(values, t281=500))) == 900 >> 2
    ).all()  # a tag that is wrong


def test_8_bit_gray_in_32_bit_pixels_is_not_turned_black():
    gray = picture().convert("L")
    assert np.array_equal(np.asarray(load_image(gray.convert("I"))), np.asarray(gray.convert("RGB")))


def test_a_transparent_gray_of_16_bits_becomes_white():
    wide = np.full((16, 16), 25_700, "<u2")
    wide[:, 8:] = 1000
    image = PIL.Image.frombytes("I;16", (16, 16), wide.tobytes())
    image.info["transparency"] = 1000
    loaded = np.asarray(load_image(image))
    assert loaded[0, 0].tolist() == [100] * 3
    assert loaded[0, 15].tolist() == [255] * 3


def test_32_bit_gray_out_of_range_is_refused_with_its_range():
    for low, high in ((0, 70_000), (-1, 100)):
        image = PIL.Image.new("I", (10, 10), low)
        image.putpixel((5, 5), high)
        with pytest.raises(ImageError, match=f"gray values of {low} to {high}"):
            load_image(image)


def test_floating_point_pixels_are_refused():
    image = PIL.Image.new("F", (10, 10), 0.5)
    for source in (image, encoded(image, "TIFF")):
        with pytest.raises(ImageError, match="floating-point pixels"):
            load_image(source)
