"""Memory and time limits of decoding, by the header: a small file may need all of a device's memory.

The figures are bytes per pixel at the peak, measured with Pillow 13: the image, the decoder's own buffers,
and the copies on the way to an upright RGB image.
"""

from __future__ import annotations

import math
from typing import IO

from PIL import ImageFile, JpegImagePlugin, TiffImagePlugin

from hmdrn_runtime.errors import ImageError

MAX_BYTES = 400_000_000
"""Most bytes that decoding an image may need at once."""
MAX_SCANS = 64
"""Most scans of a progressive JPEG, each of which covers the whole image; encoders write about 10."""
MAX_SLOW_BYTES = 1_000_000
"""Most bytes of a file whose decoder works byte by byte: a photo would take seconds."""

_SLOW_DECODERS = ("ppm", "ppm_plain", "bmp_rle")
_UPRIGHT_RGB = 7.0  # an RGB image takes 4, and is turned band by band
_BUFFER_BYTES = {"WEBP": 12.0, "AVIF": 12.0, "HEIF": 12.0}
_READ_WHOLE = ("WEBP", "AVIF", "HEIF", "TIFF")
_CHUNK = 1 << 20


def check_decoding_cost(image: ImageFile.ImageFile, stream: IO[bytes], size: int, name: str) -> None:
    """Check the memory and the time that decoding an image would take.

    Args:
        image: The image, opened as far as its header.
        stream: The file that it is read from.
        size: The file's size in bytes.
        name: The image's name in messages.

    Raises:
        ImageError: It would need more than `MAX_BYTES`, has more than `MAX_SCANS` scans, or is of a rare
            kind that is slow to decode and has more than `MAX_SLOW_BYTES`.
    """
    if size > MAX_SLOW_BYTES and any(tile[0] in _SLOW_DECODERS for tile in image.tile):
        raise ImageError(
            f"{name} is {image.format} of a rare kind that is slow to decode, of {size} bytes, more than "
            f"{MAX_SLOW_BYTES}: convert it to PNG or JPEG"
        )
    pixels = image.width * image.height
    buffers = _BUFFER_BYTES.get(image.format or "", 0.0)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not _has_single_scan(image, stream):
        buffers = _coefficient_bytes(image)
        if (scans := _count_scans(stream)) > MAX_SCANS:
            raise ImageError(
                f"{name} is a JPEG of {scans} scans, more than {MAX_SCANS}: save it again as baseline JPEG"
            )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        buffers = _largest_tile_bytes(image) / pixels
    own = _pixel_bytes(image.mode)
    needed = pixels * max(own + buffers, _conversion_bytes(image, own), _UPRIGHT_RGB)
    if image.format in _READ_WHOLE:
        needed += size
    if needed > MAX_BYTES:
        raise ImageError(
            f"{name} is a {image.format} of {image.width}x{image.height} pixels of mode {image.mode}, and "
            f"decoding it takes about {needed / 1e6:.0f} MB, more than {MAX_BYTES // 1_000_000}: scale it "
            "down first, or save it as baseline JPEG"
        )


def _pixel_bytes(mode: str) -> float:
    """Return the bytes of one pixel of a decoded image."""
    if mode in ("1", "L", "P"):
        return 1.0
    return 2.0 if mode.startswith("I;16") else 4.0


def _conversion_bytes(image: ImageFile.ImageFile, own: float) -> float:
    """Return the bytes per pixel while a decoded image, with `own` bytes per pixel, is converted to RGB."""
    if image.mode == "I":
        return 14.0
    if image.mode.startswith("I;16"):
        return 7.0
    if image.mode in ("RGBA", "LA", "La", "PA") or "transparency" in image.info:
        return own + (4.0 if image.mode == "RGBA" else 8.0)
    return own if image.mode == "RGB" else own + 4.0


def _has_single_scan(image: JpegImagePlugin.JpegImageFile, stream: IO[bytes]) -> bool:
    """Return whether a JPEG is decoded as it is read: not progressive, all components in its first scan."""
    # The stream is behind that scan's header: its length, the number of components, two bytes for each.
    position, length = stream.tell(), 6 + 2 * image.layers
    stream.seek(max(position - length, 0))
    header = stream.read(3)
    stream.seek(position)
    return "progressive" not in image.info and header == bytes((0, length, image.layers))


def _coefficient_bytes(image: JpegImagePlugin.JpegImageFile) -> float:
    """Return the bytes per pixel of a multi-scan JPEG's coefficients, which are kept until the last scan."""
    widest = max(h for _, h, _, _ in image.layer)
    tallest = max(v for _, _, v, _ in image.layer)
    return 2.0 * sum(h * v for _, h, v, _ in image.layer) / (widest * tallest)


def _count_scans(stream: IO[bytes]) -> int:
    """Count the scans from the one at the stream's position on; the position stays."""
    position = stream.tell()
    count, last = 1, b""
    while chunk := stream.read(_CHUNK):
        count += (last + chunk).count(b"\xff\xda")  # within a scan a 0 follows each 255
        last = chunk[-1:] if chunk.endswith(b"\xff") else b""
    stream.seek(position)
    return count


def _largest_tile_bytes(image: TiffImagePlugin.TiffImageFile) -> float:
    """Return the bytes of a TIFF's strip or tile, which is decoded whole."""
    tags = image.tag_v2
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    samples = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    width, height = image.width, min(tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height), image.height)
    if TiffImagePlugin.TILELENGTH in tags:
        width, height = tags.get(TiffImagePlugin.TILEWIDTH, width), tags[TiffImagePlugin.TILELENGTH]
    return math.prod((float(width), float(height), max(samples * max(bits) / 8, 4.0)))
