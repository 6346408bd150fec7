"""What decoding an image file takes, by its header: a small file may ask for all of a device's memory.

The figures are bytes a pixel at the peak, as measured with Pillow 13: the image, what its decoder keeps
beside it, and the copies on the way to an upright RGB image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO

from PIL import ImageFile, JpegImagePlugin, TiffImagePlugin

from hmdrn_runtime.errors import ImageError

MAX_BYTES = 400_000_000
"""Most bytes that decoding an image may take at once."""
MAX_SCANS = 64
"""Most passes of a progressive JPEG; encoders make about 10. Each goes over the whole image."""
MAX_SLOW_BYTES = 1_000_000
"""Most bytes of a file whose kind of decoder goes byte by byte: seconds for a photograph."""

_SLOW = ("ppm", "ppm_plain", "bmp_rle")
_UPRIGHT_RGB = 7.0  # an RGB image takes 4, and is turned band by band
_BESIDE = {"WEBP": 12.0, "AVIF": 12.0}
_READ_WHOLE = ("WEBP", "AVIF", "TIFF")
_PIECE = 1 << 20


def check_cost(image: ImageFile.ImageFile, stream: IO[bytes], size: int, name: str) -> None:
    """Refuse an image that would take too much memory or time to decode.

    Args:
        image: As far as its header.
        stream: The file of `size` bytes that it is read from.
        size: Bytes.
        name: What messages call the image.

    Raises:
        ImageError: It would take more than `MAX_BYTES`, has more than `MAX_SCANS` scans, or is of a rare
            kind that is slow to decode and has more than `MAX_SLOW_BYTES`.

    """
    if size > MAX_SLOW_BYTES and any(tile[0] in _SLOW for tile in image.tile):
        raise ImageError(
            f"{name} is {image.format} of a rare kind that is slow to decode, of {size} bytes, more than "
            f"{MAX_SLOW_BYTES}: convert it to PNG or JPEG"
        )
    beside = _BESIDE.get(image.format or "", 0.0)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not _is_of_one_scan(image, stream):
        beside = _coefficients(image)
        if (scans := _scans(stream)) > MAX_SCANS:
            raise ImageError(
                f"{name} is a JPEG of {scans} scans, more than {MAX_SCANS}: save it again as baseline JPEG"
            )
    pixels = image.width * image.height
    own = _own(image.mode)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        beside = _largest_piece(image) / pixels
    needed = pixels * max(own + beside, _converting(image, own), _UPRIGHT_RGB)
    if image.format in _READ_WHOLE:
        needed += size
    if needed > MAX_BYTES:
        raise ImageError(
            f"{name} is a {image.format} of {image.width}x{image.height} pixels of mode {image.mode}, and to "
            f"decode it takes about {needed / 1e6:.0f} MB, more than {MAX_BYTES // 1_000_000}: scale it down "
            "first, or save it as baseline JPEG"
        )


def _own(mode: str) -> float:
    """Bytes of a pixel of an image of this mode."""
    if mode in ("1", "L", "P"):
        return 1.0
    return 2.0 if mode.startswith("I;16") else 4.0


def _converting(image: ImageFile.ImageFile, own: float) -> float:
    """Bytes a pixel while an image becomes RGB."""
    if image.mode == "I":
        return 14.0
    if image.mode.startswith("I;16"):
        return 7.0
    if image.mode in ("RGBA", "LA", "La", "PA") or "transparency" in image.info:
        return own + (4.0 if image.mode == "RGBA" else 8.0)
    return own if image.mode == "RGB" else own + 4.0


def _is_of_one_scan(image: JpegImagePlugin.JpegImageFile, stream: IO[bytes]) -> bool:
    """Whether a JPEG is decoded as it is read: not progressive, and all components in its first scan."""
    here = (
        stream.tell()
    )  # behind the header of that scan: its length, number of components, two bytes for each
    length = 6 + 2 * image.layers
    stream.seek(max(here - length, 0))
    beginning = stream.read(3)
    stream.seek(here)
    return "progressive" not in image.info and beginning == bytes((0, length, image.layers))


def _coefficients(image: JpegImagePlugin.JpegImageFile) -> float:
    """Bytes a pixel of the coefficients of a JPEG of several scans, which are kept until the last."""
    across = max(h for _, h, _, _ in image.layer)
    down = max(v for _, _, v, _ in image.layer)
    return 2.0 * sum(h * v for _, h, v, _ in image.layer) / (across * down)


def _scans(stream: IO[bytes]) -> int:
    """Scans from the stream's position on, the one there included; the position stays."""
    here = stream.tell()
    count, last = 1, b""
    for piece in _pieces(stream):
        count += (last + piece).count(b"\xff\xda")  # within a scan a 0 follows each 255
        last = piece[-1:] if piece.endswith(b"\xff") else b""
    stream.seek(here)
    return count


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _largest_piece(image: TiffImagePlugin.TiffImageFile) -> float:
    """Bytes of a TIFF's strip or tile, which is decoded whole."""
    tags = image.tag_v2
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    samples = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    pixel = max(samples * max(bits) / 8, 4.0)
    if TiffImagePlugin.TILELENGTH in tags:
        across, down = tags.get(TiffImagePlugin.TILEWIDTH, image.width), tags[TiffImagePlugin.TILELENGTH]
    else:
        across, down = image.width, min(tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height), image.height)
    return math.prod((float(across), float(down), pixel))
