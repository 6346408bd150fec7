from __future__ import annotations

import hashlib
import os
import struct
import threading
import tracemalloc
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageFile, features

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.preprocessing import (
    INPUT_SIZE,
    MAX_PIXELS,
    crop_box,
    describe_source,
    digest,
    load_image,
    prepare,
    preprocess,
)

RED, GREEN, BLUE, YELLOW, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that JPEG keeps nearly as it is."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(
        np.uint8
    )


def encoded(image: PIL.Image.Image, file_format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def picture(height: int = 30, width: int = 40) -> PIL.Image.Image:
    return PIL.Image.fromarray(noise(height, width))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, rest: bytes = b"") -> bytes:
    """A PNG file whose header claims a size, with next to no pixels behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(64)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rest + pixels + chunk(b"IEND", b"")


def is_one_line(error: ImageError) -> bool:
    return "\n" not in str(error) and len(str(error)) > 20


def loads_or_is_refused(data: bytes) -> bool:
    try:
        image = load_image(data)
    except ImageError as error:
        return is_one_line(error)
    return image.mode == "RGB"


# ---------------------------------------------------------------- paths and bytes


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "PPM", "TIFF", "GIF", "WEBP", "JPEG"])
def test_every_known_format_is_read_from_a_path_and_from_bytes(tmp_path, file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = PIL.Image.fromarray(smooth(30, 40)) if file_format != "GIF" else picture().quantize(64)
    data = encoded(image, file_format, **options)
    path = tmp_path / "photo.bin"
    path.write_bytes(data)
    for source in (path, str(path), data):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        assert loaded.size == (40, 30)
        difference = np.asarray(loaded).astype(int) - np.asarray(image.convert("RGB"))
        assert np.abs(difference).max() <= (16 if file_format == "JPEG" else 0)


def test_a_tilde_in_a_path_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    picture().save(tmp_path / "photo.png")
    assert load_image("~/photo.png").size == (40, 30)


def test_a_tilde_of_an_unknown_user_is_refused():
    with pytest.raises(ImageError, match="no-such-user-at-all"):
        load_image("~no-such-user-at-all/photo.png")


def test_a_path_may_be_any_path_like_object(tmp_path):
    class Wrapped:
        def __fspath__(self) -> str:
            return str(tmp_path / "photo.png")

    picture().save(tmp_path / "photo.png")
    assert load_image(Wrapped()).size == (40, 30)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.jpg does not exist"):
        load_image(tmp_path / "nowhere.jpg")


def test_a_path_with_a_nul_or_an_overlong_name_is_refused():
    for path in ("a\0b.jpg", "x" * 5000 + ".jpg"):
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert is_one_line(caught.value)


def test_a_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match=f"{tmp_path.name} is a folder"):
        load_image(tmp_path)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg is empty"):
        load_image(tmp_path / "empty.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match=r"pipe\.jpg is not a regular file"):
        load_image(tmp_path / "pipe.jpg")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    picture().save(tmp_path / "secret.png")

    def refuse(_path, _mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"secret\.png cannot be opened .*Permission denied"):
        load_image(tmp_path / "secret.png")


def test_empty_bytes_are_refused():
    with pytest.raises(ImageError, match="<bytes, 0> is empty"):
        load_image(b"")


def test_a_text_file_named_jpg_is_refused_by_name(tmp_path):
    (tmp_path / "notes.jpg").write_text("Dear diary,\ntoday I saw a wren.\n")
    with pytest.raises(ImageError, match=r"notes\.jpg is not an image of a known format") as caught:
        load_image(tmp_path / "notes.jpg")
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"\0\0\0\x18ftypcrx ", "raw file"),
        (b"FUJIFILMCCD-RAW 0201", "raw file"),
    ],
)
def test_formats_of_cameras_and_telephones_are_named_with_what_to_convert_them_to(tmp_path, beginning, kind):
    (tmp_path / "IMG_1").write_bytes(beginning + bytes(100))
    with pytest.raises(ImageError, match=rf"IMG_1 is .*{kind}, .*: convert it to JPEG or PNG$") as caught:
        load_image(tmp_path / "IMG_1")
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("clip", b"\0\0\0\x18ftypisom"),
        ("clip", b"\0\0\0\x14ftypqt  "),
        ("clip", b"\0\0\0\x08wide"),
        ("clip", b"RIFF\x10\0\0\0AVI LIST"),
        ("clip", b"\x1aE\xdf\xa3"),
        ("clip.MKV", b"nothing known"),
    ],
)
def test_a_video_is_called_one_with_what_takes_it(tmp_path, name, beginning):
    (tmp_path / name).write_bytes(beginning + bytes(100))
    with pytest.raises(
        ImageError, match=r"is a video, .*hmdrn watch --source.*enroll_from_video\.py"
    ) as caught:
        load_image(tmp_path / name)
    assert is_one_line(caught.value)


def test_a_photo_under_a_videos_name_is_read(tmp_path):
    (tmp_path / "photo.mp4").write_bytes(encoded(picture(60, 80), "WEBP"))
    assert load_image(tmp_path / "photo.mp4").size == (80, 60)


def test_avif_is_read_where_pillow_can(tmp_path, monkeypatch):
    if "avif" not in features.modules or not features.check_module("avif"):
        pytest.skip("this Pillow has no AVIF")
    picture(60, 80).save(tmp_path / "photo.avif")
    assert load_image(tmp_path / "photo.avif").size == (80, 60)
    monkeypatch.setattr(features, "check_module", lambda name: False)
    with pytest.raises(ImageError, match=r"photo\.avif is AVIF, .*convert it to JPEG or PNG"):
        load_image(tmp_path / "photo.avif")


def test_a_line_break_in_a_path_does_not_break_the_message(tmp_path):
    with pytest.raises(ImageError) as caught:
        load_image(tmp_path / "two\nlines.jpg")
    assert is_one_line(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "PPM", "TIFF", "GIF", "WEBP", "JPEG"])
@pytest.mark.parametrize("kept", [0.02, 0.5])
def test_a_truncated_file_is_refused_by_name(tmp_path, file_format, kept):
    data = encoded(picture(100, 100), file_format)
    path = tmp_path / "cut.bin"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=r"cut\.bin") as caught:
        load_image(path)
    assert is_one_line(caught.value)


@pytest.mark.parametrize("source", [None, 3, [1, 2], BytesIO(b"x"), bytearray(b"x")])
def test_a_source_of_an_unknown_type_is_refused(source):
    with pytest.raises(ImageError, match=f"cannot read an image from <{type(source).__name__}>"):
        load_image(source)


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


# ---------------------------------------------------------------- sizes


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


@pytest.mark.parametrize("side", [13_000, 16_383])
def test_a_webp_that_claims_a_huge_canvas_is_refused_from_its_header(side):
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
        with pytest.raises(ImageError, match=f"more than {MAX_PIXELS}"):
            load_image(data)


def test_pillows_own_limit_neither_warns_nor_refuses_under_ours(monkeypatch):
    images = [
        encoded(picture(200, 200), file_format) for file_format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF")
    ]
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in images:
            loaded = load_image(data)
            assert crop_box(loaded, (1, 1, 190, 190)).size == (189, 189)
            assert prepare(data, "crop").shape == (84, 84, 3)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100


def test_pillows_own_limit_is_restored_after_failures_and_between_threads(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    good, bad = encoded(picture(60, 60), "PNG"), encoded(picture(60, 60), "PNG")[:200]
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(30):
                load_image(good)
                with pytest.raises(ImageError):
                    load_image(bad)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert PIL.Image.MAX_IMAGE_PIXELS == 1000


def test_a_limit_of_pillow_that_is_switched_off_stays_off(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    load_image(encoded(picture(), "PNG"))
    assert PIL.Image.MAX_IMAGE_PIXELS is None


def test_a_side_under_8_pixels_is_refused_and_8_is_taken():
    assert load_image(picture(8, 9)).size == (9, 8)
    for source in (picture(7, 40), noise(40, 7), encoded(picture(7, 7), "PNG")):
        with pytest.raises(ImageError, match="each side must have at least 8"):
            load_image(source)


def test_more_than_the_allowed_pixels_are_refused_from_pillow_and_arrays_too():
    base = np.zeros((1, 1, 3), np.uint8)
    with pytest.raises(ImageError, match=f"more than {MAX_PIXELS}"):
        load_image(np.broadcast_to(base, (10_001, 10_000, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = PIL.Image.open(BytesIO(png_header(10_001, 10_000, 1, 0)))
    with pytest.raises(ImageError, match=f"more than {MAX_PIXELS}"):
        load_image(lazy)


def test_an_aspect_over_20_is_refused_and_20_is_taken():
    assert load_image(picture(10, 200)).size == (200, 10)
    assert load_image(picture(200, 10)).size == (10, 200)
    for source in (picture(10, 201), noise(201, 10)):
        with pytest.raises(ImageError, match="over 20 times"):
            load_image(source)


# ---------------------------------------------------------------- orientation


def corners(quadrants: tuple[tuple[int, int, int], ...]) -> PIL.Image.Image:
    """40 x 20 pixels in four colours: upper left, upper right, lower left, lower right."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :20], pixels[:10, 20:], pixels[10:, :20], pixels[10:, 20:] = quadrants
    return PIL.Image.fromarray(pixels)


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
    # JPEG blends colours at the borders of the quadrants, which are no borders of its blocks.
    offset = np.abs(np.asarray(loaded).astype(int) - expected)
    assert np.median(offset) <= 2
    assert offset[2, 2].max() <= 40
    assert offset[-3, -3].max() <= 40
    assert offset[2, -3].max() <= 40
    again = load_image(loaded)
    assert np.array_equal(np.asarray(again), np.asarray(loaded))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_is_taken_as_upright(value):
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


# ---------------------------------------------------------------- modes


def test_transparency_lies_on_white_in_every_mode():
    rgba = np.zeros((10, 10, 4), np.uint8)
    rgba[:5] = (*RED, 255)
    rgba[5:] = (0, 0, 0, 0)
    colour = PIL.Image.fromarray(rgba)
    palette = encoded(colour.quantize(4), "PNG")
    for source in (colour, encoded(colour, "PNG"), encoded(colour, "WEBP", lossless=True), palette):
        loaded = np.asarray(load_image(source))
        assert np.array_equal(loaded[0, 0], RED)
        assert np.array_equal(loaded[9, 9], WHITE)
    grey = PIL.Image.new("LA", (10, 10), (0, 0))
    for image in (grey, grey.convert("La"), PIL.Image.new("PA", (10, 10), (0, 0))):
        assert np.asarray(load_image(image))[9, 9].tolist() == [255, 255, 255], image.mode
    premultiplied = np.asarray(load_image(colour.convert("RGBa")))
    assert premultiplied[0, 0].tolist() == list(RED)
    assert premultiplied[9, 9].tolist() == list(WHITE)


def test_half_transparency_is_blended_with_white():
    image = PIL.Image.new("RGBA", (10, 10), (0, 100, 255, 51))
    assert np.asarray(load_image(image))[4, 4].tolist() == [204, 224, 255]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_transparent_colour_without_alpha_lies_on_white(mode):
    image = PIL.Image.new("RGB", (20, 20), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 10, 20))
    image = image.convert(mode) if mode != "P" else image.quantize(2)
    black = image.getpixel((0, 0))
    loaded = load_image(encoded(image, "PNG", transparency=black))
    assert np.asarray(loaded).min() == 255


def test_a_transparent_colour_in_16_bits_is_no_failure():
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


def test_16_bit_grey_is_scaled_and_not_clipped():
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


def test_a_dark_16_bit_file_stays_dark():
    wide = np.full((16, 16), 300, "<u2")
    wide[0, 0] = 255
    loaded = np.asarray(load_image(encoded(PIL.Image.frombytes("I;16", (16, 16), wide.tobytes()), "PNG")))
    assert loaded.max() == 1
    assert loaded[0, 0, 0] == 0


def test_8_bit_grey_in_32_bit_pixels_is_not_turned_black():
    grey = picture().convert("L")
    assert np.array_equal(np.asarray(load_image(grey.convert("I"))), np.asarray(grey.convert("RGB")))


def test_a_transparent_grey_of_16_bits_lies_on_white():
    wide = np.full((16, 16), 25_700, "<u2")
    wide[:, 8:] = 1000
    image = PIL.Image.frombytes("I;16", (16, 16), wide.tobytes())
    image.info["transparency"] = 1000
    loaded = np.asarray(load_image(image))
    assert loaded[0, 0].tolist() == [100] * 3
    assert loaded[0, 15].tolist() == [255] * 3


def test_32_bit_grey_out_of_range_is_refused_with_its_range():
    for low, high in ((0, 70_000), (-1, 100)):
        image = PIL.Image.new("I", (10, 10), low)
        image.putpixel((5, 5), high)
        with pytest.raises(ImageError, match=f"grey values of {low} to {high}"):
            load_image(image)


def test_floating_point_pixels_are_refused():
    image = PIL.Image.new("F", (10, 10), 0.5)
    for source in (image, encoded(image, "TIFF")):
        with pytest.raises(ImageError, match="floating-point pixels"):
            load_image(source)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken(file_format):
    frames = [PIL.Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(load_image(data))[10, 10].tolist() == list(RED)


def test_a_phones_multi_picture_jpeg_is_read():
    frames = [PIL.Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(load_image(data))[10, 10].astype(int) - RED).max() < 5


# ---------------------------------------------------------------- Pillow images


def sample(kind: str) -> PIL.Image.Image:
    """A picture of 40 x 30 in a mode of Pillow; "P transparent" has a transparent colour."""
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


# ---------------------------------------------------------------- arrays


def test_an_array_is_taken_as_rgb_and_copied():
    array = noise(30, 40)
    loaded = load_image(array)
    assert np.array_equal(np.asarray(loaded), array)
    kept = np.asarray(loaded).copy()
    array[:] = 0
    assert np.array_equal(np.asarray(loaded), kept)


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
    ("array", "told"),
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
def test_an_array_of_another_kind_is_refused_with_what_to_pass(array, told):
    with pytest.raises(ImageError, match=told) as caught:
        load_image(array)
    assert is_one_line(caught.value)


# ---------------------------------------------------------------- boxes


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
    ("box", "told"),
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
        ((10, 10.1, 40, 10.4), "covers under one pixel"),
        ((79.8, 0, 100, 20), "covers under one pixel"),
        ((0, 0, 10), "is not four numbers"),
        ((0, 0, 10, 10, 10), "is not four numbers"),
        ((0, 0, "a", 10), "is not four numbers"),
        ((0, 0, 10**400, 10), "is not four numbers"),
        (5, "is not four numbers"),
        (None, "is not four numbers"),
    ],
)
def test_a_box_that_cannot_be_cut_out_is_refused(box, told):
    with pytest.raises(ImageError, match=told) as caught:
        crop_box(picture(60, 80), box)
    assert is_one_line(caught.value)


def test_a_box_is_cut_out_of_the_upright_image():
    stored = corners((RED, GREEN, BLUE, YELLOW))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    # Turned clockwise: blue is upper left of 20 x 40.
    upright = load_image(encoded(stored, "PNG", exif=exif))
    pixels = preprocess(crop_box(upright, (0, 0, 10, 20)), "squash")
    assert pixels[42, 42].tolist() == list(BLUE)


def test_an_image_that_is_not_rgb_is_sent_to_load_image():
    for call in (lambda image: crop_box(image, (0, 0, 9, 9)), lambda image: preprocess(image, "crop")):
        with pytest.raises(ImageError, match="is not RGB"):
            call(PIL.Image.new("L", (30, 30)))


# ---------------------------------------------------------------- preprocessing


def triangle_weights(source: int, target: int) -> np.ndarray:
    """(target, source) weights of a bilinear resize that widens its triangle when it shrinks."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / support
    weights = np.clip(1.0 - distance, 0.0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def network_input_by_hand(array: np.ndarray, mode: str) -> np.ndarray:
    """The rule of torchvision's transforms, in float arithmetic of our own."""
    height, width, _ = array.shape
    if mode == "squash":
        new_height, new_width = 92, 92
    else:
        short, long = min(height, width), max(height, width)
        new_long = int(92 * long / short)
        new_height, new_width = (new_long, 92) if width <= height else (92, new_long)
    rows, columns = triangle_weights(height, new_height), triangle_weights(width, new_width)
    # Pillow works across, rounds to 8 bits, then down.
    across = np.floor(np.einsum("xw,hwc->hxc", columns, array) + 0.5)
    resized = np.floor(np.einsum("yh,hxc->yxc", rows, across) + 0.5)
    top, left = round((new_height - 84) / 2.0), round((new_width - 84) / 2.0)
    return np.clip(resized, 0, 255)[top : top + 84, left : left + 84]


@pytest.mark.parametrize("mode", ["crop", "squash"])
@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 260),
    width=st.integers(8, 260),
    seed=st.integers(0, 1000),
)
def test_preprocessing_follows_the_rule_of_the_training_at_any_size(mode, height, width, seed):
    if max(height, width) > 20 * min(height, width) or (height, width) == (84, 84):
        return
    array = noise(height, width, seed)
    pixels = preprocess(PIL.Image.fromarray(array), mode)
    assert pixels.shape == (84, 84, 3)
    # Pillow's weights are fixed-point numbers: it may round the other way.
    difference = np.abs(pixels - network_input_by_hand(array, mode))
    # Pillow rounds after each of its two passes: one step each at most, and rarely both.
    assert difference.max() <= 2
    assert difference.mean() < 0.5


@pytest.mark.parametrize(
    ("size", "left", "top"),
    [((92, 92), 4, 4), ((93, 92), 4, 4), ((95, 92), 6, 4), ((92, 97), 4, 6), ((99, 92), 8, 4)],
)
def test_the_centre_is_cut_out_with_halves_to_even(size, left, top):
    array = noise(size[1], size[0])
    pixels = preprocess(PIL.Image.fromarray(array), "crop")
    assert np.array_equal(pixels, array[top : top + 84, left : left + 84])


@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_an_image_of_84_by_84_is_taken_as_it_is(mode):
    array = noise(84, 84)
    assert np.array_equal(prepare(array, mode), array)
    assert not np.array_equal(prepare(noise(84, 85), mode), noise(84, 85)[:, :84])


@pytest.mark.parametrize("mode", ["crop", "squash"])
@pytest.mark.parametrize("shape", [(84, 84), (100, 130), (30, 20)])
def test_the_network_input_is_contiguous_and_owned(mode, shape):
    array = noise(*shape)
    pixels = prepare(array, mode)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.owndata
    assert pixels.flags.writeable
    assert not np.shares_memory(pixels, array)


def test_crop_keeps_the_aspect_and_squash_does_not():
    array = np.zeros((100, 300, 3), np.uint8)
    array[:, 100:200] = 255
    assert prepare(array, "crop").min() > 0
    squashed = prepare(array, "squash")
    assert squashed[40, 0, 0] == 0
    assert squashed[40, 42, 0] == 255


def test_an_unknown_mode_is_refused_with_the_choices():
    for call in (lambda: preprocess(picture(), "stretch"), lambda: prepare("nowhere.jpg", "stretch")):
        with pytest.raises(ImageError, match="unknown preprocessing 'stretch': choose one of crop, squash"):
            call()


def test_a_needle_of_a_box_is_refused_before_it_is_resized():
    with pytest.raises(ImageError, match="over 20 times"):
        preprocess(crop_box(load_image(noise(400, 400)), (0, 0, 8, 400)), "crop")


def test_prepare_is_its_two_parts():
    array = noise(120, 200)
    assert np.array_equal(prepare(array, "crop"), preprocess(load_image(array), "crop"))


# ---------------------------------------------------------------- digest and names


def test_the_digest_is_the_sha_256_of_the_pixels():
    pixels = noise(INPUT_SIZE, INPUT_SIZE)
    assert digest(pixels) == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert digest(np.asfortranarray(pixels)) == digest(pixels)
    assert digest(pixels[::-1]) != digest(pixels)


def test_the_digest_of_anything_but_a_network_input_is_refused():
    for pixels in (noise(85, 84), np.zeros((84, 84, 3), np.float32), np.zeros((84, 84), np.uint8)):
        with pytest.raises(ImageError, match="is no network input"):
            digest(pixels)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos/wren.jpg", "photos/wren.jpg"),
        (Path("wren.jpg"), "wren.jpg"),
        ("two\nlines.jpg", "'two\\nlines.jpg'"),
        (b"1234", "<bytes, 4>"),
        (PIL.Image.new("RGB", (640, 480)), "<PIL image 640x480 RGB>"),
        (np.zeros((480, 640, 3), np.uint8), "<array (480, 640, 3) uint8>"),
        (7, "<int>"),
    ],
)
def test_a_source_is_described_in_one_line(source, name):
    assert describe_source(source) == name
