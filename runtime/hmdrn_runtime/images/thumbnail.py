"""Thumbnails of photos: the network's input as JPEG, from which another network can enroll the photo.

JPEG at `QUALITY` has a sixth of the bytes of the pixels. Species enrolled from it are recognized as well as
those enrolled from the photos, within the uncertainty of the measurement (`python -m benchmarks.thumbnails`).
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import MIN_SIDE

QUALITY = 95
MAX_BYTES = 1_000_000
"""Most bytes of a thumbnail."""
_MAX_SIDE = 1024


def encode_thumbnail(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return RGB pixels, uint8 (side, side, 3), as JPEG with colors in full resolution."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def decode_thumbnail(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of a thumbnail, RGB uint8 (side, side, 3).

    Raises:
        ImageError: The bytes are not a square JPEG of a side of 8 to 1024 pixels.
    """
    try:
        with PIL.Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            width, height = image.size
            if width == height and MIN_SIDE <= width <= _MAX_SIDE:
                return np.asarray(image.convert("RGB"))
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageError("a thumbnail is damaged: enroll its photo again") from error
    raise ImageError(f"a thumbnail has {width}x{height} pixels: enroll its photo again")
