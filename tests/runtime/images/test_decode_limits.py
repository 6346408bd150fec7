"""What decoding may take of memory and time: measured in new processes, and refused by the header."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images import decode_limits as decoding_cost
from hmdrn_runtime.images.decode_limits import MAX_BYTES, MAX_SCANS
from hmdrn_runtime.images.decoding import load_image

PEAK = """
import sys
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.profiling.fresh_process import peak_mib
import numpy, PIL
before = peak_mib()
load_image(sys.argv[1])
print(peak_mib() - before)
"""


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def flat(side: int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (side, side))


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = 6
    return exif


# By kind: what makes one, and the bytes that decoding takes for a pixel.
KINDS: dict[str, tuple[str, str, dict[str, Any], float]] = {
    "baseline jpeg": ("RGB", "JPEG", {}, 4),
    "turned jpeg": ("RGB", "JPEG", {"exif": turned()}, 7),
    "progressive jpeg": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}, 10),
    "progressive cmyk": ("CMYK", "JPEG", {"progressive": True, "subsampling": 0}, 12),
    "png": ("RGB", "PNG", {"compress_level": 1}, 4),
    "png with alpha": ("RGBA", "PNG", {"compress_level": 1}, 8),
    "grey png with alpha": ("LA", "PNG", {"compress_level": 1}, 12),
    "16-bit png": ("I;16", "PNG", {"compress_level": 1}, 7),
    "webp": ("RGB", "WEBP", {"method": 0}, 16),
    "turned webp": ("RGB", "WEBP", {"method": 0, "exif": turned()}, 16),
    "lossless webp": ("RGB", "WEBP", {"lossless": True, "method": 0, "quality": 0}, 16.5),
    "tiff of one strip": ("RGB", "TIFF", {"compression": "tiff_lzw", "tiffinfo": {278: 3000}}, 8),
    "gif": ("P", "GIF", {}, 5),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which tells peak memory")
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_takes_no_more_than_is_reckoned_with(tmp_path, kind):
    mode, file_format, options, bytes_a_pixel = KINDS[kind]
    side = 3000
    path = tmp_path / "photo"
    path.write_bytes(encoded(flat(side, mode), file_format, **options))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, env=environment, check=True
    )
    # Decoders' own code and tables are some megabytes, whatever the image.
    assert float(done.stdout) * 2**20 < bytes_a_pixel * side**2 + 12e6


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_would_take_more_than_the_limit_is_refused_from_its_header(monkeypatch, kind):
    mode, file_format, options, bytes_a_pixel = KINDS[kind]
    data = encoded(flat(300, mode), file_format, **options)
    # What is not told before decoding is that a photo is to be turned: each is reckoned with as if it were.
    limit = int(max(bytes_a_pixel, 7) * 300**2)
    monkeypatch.setattr(decoding_cost, "MAX_BYTES", limit + len(data) + 10_000)
    assert load_image(data).size == (300, 300)
    monkeypatch.setattr(decoding_cost, "MAX_BYTES", limit * 9 // 10)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    with pytest.raises(ImageError, match=r"300x300 pixels of mode .*: scale it down first"):
        load_image(data)


@pytest.mark.parametrize(
    ("megapixels", "kind"),
    [(50, "baseline jpeg"), (50, "turned jpeg"), (24, "png"), (24, "png with alpha"), (24, "webp")],
)
def test_photos_of_ordinary_cameras_stay_under_the_limit(megapixels, kind):
    assert megapixels * 1e6 * KINDS[kind][3] + 10e6 < MAX_BYTES


def test_a_jpeg_of_very_many_scans_is_refused():
    data = encoded(flat(64), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    load_image(data[:-2] + last * 20 + data[-2:])
    with pytest.raises(ImageError, match=f"is a JPEG of .* scans, more than {MAX_SCANS}: save it again"):
        load_image(data[:-2] + last * MAX_SCANS + data[-2:])


def test_scans_of_one_component_each_are_reckoned_as_progressive_ones(monkeypatch):
    data = bytearray(encoded(flat(300), "JPEG", subsampling=0))
    at = data.index(b"\xff\xda")
    data[at : at + 14] = b"\xff\xda\0\x08\x01\x01\x00\0\x3f\0"
    monkeypatch.setattr(decoding_cost, "MAX_BYTES", 800_000)
    with pytest.raises(ImageError, match="takes about 1 MB"):
        load_image(bytes(data))


def test_a_tiff_of_a_tile_far_larger_than_the_image_is_refused():
    side, tile = 32, 16_384
    content = zlib.compress(bytes(64))
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile), (323, tile)]
    tags += [(324, 8 + 2 + 10 * 12 + 4), (325, len(content))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content
    with pytest.raises(
        ImageError, match="is a TIFF of 32x32 pixels of mode L, and to decode it takes about 1"
    ):
        load_image(data)


@pytest.mark.parametrize("beginning", [b"P3 600 600 255\n", b"P3 600 600 255\n" + b"#\n" * 500_000])
def test_kinds_that_are_slow_to_decode_are_read_while_they_are_small(beginning):
    small = b"P3 9 9 255\n" + b"7 " * 243
    assert np.asarray(load_image(small)).max() == 7
    with pytest.raises(
        ImageError, match=r"PPM of a rare kind that is slow to decode, of .* bytes, more than"
    ):
        load_image(beginning + b"7 " * 1_080_000)
