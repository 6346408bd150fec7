"""Images of random, smooth or flat colors for the tests of `hmdrn_runtime.images`."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import PIL.Image

from hmdrn_runtime.errors import ImageError

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


def png_header(width: int, height: int, depth: int = 8, color: int = 2, rest: bytes = b"") -> bytes:
    """A PNG file whose header claims a size, with next to no pixels behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(64)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rest + pixels + chunk(b"IEND", b"")


def is_one_line(error: ImageError) -> bool:
    return "\n" not in str(error) and len(str(error)) > 20


def corners(quadrants: tuple[tuple[int, int, int], ...]) -> PIL.Image.Image:
    """40 x 20 pixels in four colors: upper left, upper right, lower left, lower right."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :20], pixels[:10, 20:], pixels[10:, :20], pixels[10:, 20:] = quadrants
    return PIL.Image.fromarray(pixels)
