from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from drawn_images import encoded, is_one_line, picture, smooth
from PIL import features

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.formats import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, is_photo


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
    with pytest.raises(ImageError, match=r"^'' is a folder"):
        load_image("")


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
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\0\0\0\x18ftypcrx ", "raw file"),
        (b"FUJIFILMCCD-RAW 0201", "raw file"),
    ],
)
def test_formats_of_cameras_and_phones_are_named_with_advice(tmp_path, monkeypatch, beginning, kind):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if the extra were not installed
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
def test_a_video_is_named_with_the_command_that_reads_it(tmp_path, name, beginning):
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


def test_heic_is_read_where_its_extra_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    image = PIL.Image.fromarray(smooth(64, 96))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    heif.from_pillow(image).save(tmp_path / "photo.heic", quality=90)
    heif.from_pillow(image).save(tmp_path / "turned.heic", quality=90, exif=exif.tobytes())
    for source in (tmp_path / "photo.heic", (tmp_path / "photo.heic").read_bytes()):
        loaded = load_image(source)
        assert (loaded.mode, loaded.size) == ("RGB", (96, 64))
        assert np.abs(np.asarray(loaded).astype(int) - np.asarray(image)).mean() < 6
    assert load_image(tmp_path / "turned.heic").size == (64, 96), "turned once, not twice"
    (tmp_path / "cut.heic").write_bytes((tmp_path / "photo.heic").read_bytes()[:400])
    with pytest.raises(ImageError, match=r"cut\.heic") as caught:
        load_image(tmp_path / "cut.heic")
    assert is_one_line(caught.value)


def test_suffixes_of_photos_are_those_of_the_formats_that_are_read(tmp_path):
    for suffix in (".jfif", ".jpe", ".jpg", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".gif", ".ppm"):
        assert is_photo(f"A{suffix.upper()}")
        picture().save(tmp_path / f"a{suffix}")
        assert load_image(tmp_path / f"a{suffix}").size == (40, 30)
    picture().convert("L").save(tmp_path / "a.pgm")
    picture().convert("1").save(tmp_path / "a.pbm")
    for name in ("a.pgm", "a.pbm"):
        assert is_photo(name)
        assert load_image(tmp_path / name).size == (40, 30)
    assert not any(map(is_photo, ("a.txt", "a.psd", "a.mp4", "jpg", "a.xmp")))
    assert len(set(PHOTO_SUFFIXES)) == len(PHOTO_SUFFIXES)
    assert not {*PHOTO_SUFFIXES} & {*OTHER_IMAGE_SUFFIXES}


def test_a_line_break_in_a_path_does_not_break_the_message(tmp_path):
    with pytest.raises(ImageError) as caught:
        load_image(tmp_path / "two\nlines.jpg")
    assert is_one_line(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "PPM", "TIFF", "GIF", "WEBP", "JPEG"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_truncated_file_is_refused_by_name(tmp_path, file_format, share):
    data = encoded(picture(100, 100), file_format)
    path = tmp_path / "cut.bin"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"cut\.bin") as caught:
        load_image(path)
    assert is_one_line(caught.value)
