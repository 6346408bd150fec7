"""Reading of photos from any source into upright RGB images.

Files are untrusted: their size is checked before a pixel is decoded, and any exception of a decoder on
damaged bytes becomes an `ImageError`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ExifTags, ImageFile
from PIL.Image import Transpose

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decode_limits import check_decoding_cost
from hmdrn_runtime.images.formats import open_image_file, read_image_header
from hmdrn_runtime.images.pixel_modes import convert_to_rgb, has_spare_bits, join_bytes
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import format_error

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | PIL.Image.Image | npt.NDArray[np.uint8]
)
"""A path, an image file's bytes, a Pillow image, or an RGB uint8 array of (height, width, 3)."""

MIN_SIDE = 8
"""Fewest pixels of the shorter side of an image or a clipped box."""
MAX_PIXELS = 64_000_000
"""Most pixels (width times height) of an image."""
MAX_ASPECT = 20.0
"""Largest ratio of an image's longer side to its shorter side."""

_OTHER_BYTE_ORDER = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
"""Pillow's names of the pixels of files with 16 bits for each color."""
_TRANSPOSE_BY_ORIENTATION = {  # EXIF orientation; 1 is upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def load_image(source: ImageSource) -> PIL.Image.Image:
    """Read a photo as an upright RGB image.

    Args:
        source: A path (`~` is expanded), the bytes of an image file, a Pillow image, or an RGB (not BGR)
            uint8 array of (height, width, 3). Files are JPEG, PNG, WebP, BMP, TIFF, PPM or GIF, and AVIF
            where Pillow reads it. The first of several frames is read; of a Pillow image, its current frame.

    Returns:
        A new image of mode RGB, 8 bits per channel, upright by its EXIF orientation and without metadata.
        Colors are converted to sRGB by the image's ICC profile, if it has a valid one. Transparent pixels
        become white. 16 bits are scaled to 8 by the bits in use: 8, 10, 12, 14 or 16, the fewest that hold
        the photo's highest value, or what a TIFF's tags say; so is 32-bit integer gray.

    Raises:
        ImageError: The source is missing, empty, damaged, of an unknown format or type, shorter than
            `MIN_SIDE` on a side, larger than `MAX_PIXELS`, over `MAX_ASPECT` times as long as wide, or a
            file that is too costly to decode (see `decode_limits`).
    """
    name = describe_source(source)
    try:
        if isinstance(source, np.ndarray):
            check_array(source, name)
            # Always a copy: the caller may write into the array later.
            image = PIL.Image.fromarray(np.array(source, order="C", subok=False))
        elif isinstance(source, PIL.Image.Image):
            check_size(source.width, source.height, name)
            orientation = _read_orientation(source)  # a copy loses it
            # A copy, because conversions of palettes write into their image.
            image = _make_upright(convert_to_rgb(source.copy(), name), orientation)
        elif isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
            image = _load_stream(BytesIO(data), len(data), name)
        elif isinstance(source, str | os.PathLike):
            with open_image_file(source, name) as stream:
                image = _load_stream(stream, os.fstat(stream.fileno()).st_size, name)
        else:
            several = "; for several photos call classify_batch" if isinstance(source, list | tuple) else ""
            raise ImageError(
                f"cannot read an image from {name}: pass a path, the bytes of an image file, "
                f"a Pillow image, or an RGB uint8 array of (height, width, 3){several}"
            )
    except ImageError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large ({format_error(error)}): scale it down to at most {MAX_PIXELS} pixels"
        ) from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageError(
            f"{name} cannot be decoded ({format_error(error)}): the image is damaged or unusual; "
            "save it again as JPEG or PNG"
        ) from error
    image.info = {}  # or the next reader would apply the orientation again
    return image


def check_size(width: int, height: int, name: str) -> None:
    """Check that the network can use an image of this size in pixels."""
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        raise ImageError(
            f"{name} is {width}x{height} pixels: each side must have at least {MIN_SIDE}; "
            "use a larger photo or box"
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is {width}x{height} pixels, more than {MAX_PIXELS} in total: scale it down first"
        )
    if long > MAX_ASPECT * short:
        raise ImageError(
            f"{name} is {width}x{height} pixels: one side is over {MAX_ASPECT:g} times the other; "
            "cut out the part that shows the subject"
        )


def check_array(array: npt.NDArray[np.generic], name: str) -> None:
    """Check that an array is an RGB image of a size that the network can use."""
    expected = "pass an RGB uint8 array of (height, width, 3)"
    if array.dtype != np.uint8:
        if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
            raise ImageError(f"{name} holds NaN: {expected}")
        raise ImageError(
            f"{name} is of type {array.dtype}: {expected}, scaled to 0..255 and cast by .astype(np.uint8)"
        )
    if array.ndim == 3 and array.shape[2] == 4:
        raise ImageError(f"{name} has 4 channels: {expected}, such as array[..., :3] without its alpha")
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        raise ImageError(f"{name} has its channels first: {expected}, such as array.transpose(1, 2, 0)")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
        raise ImageError(f"{name} has 1 channel: {expected}, such as np.dstack([gray] * 3)")
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"{name} is not shaped like an image: {expected}")
    check_size(array.shape[1], array.shape[0], name)


def _load_stream(stream: IO[bytes], size: int, name: str) -> PIL.Image.Image:
    image: ImageFile.ImageFile = read_image_header(stream, size, name)
    check_size(image.width, image.height, name)
    check_decoding_cost(image, stream, size, name)
    tiles = image.tile
    image.load()  # before the orientation is read: it turns TIFF, and PNG may end with its EXIF
    orientation = _read_orientation(image)
    rgb = convert_to_rgb(_restore_low_bits(image, tiles, stream, size, name), name)
    if rgb is not image:  # not a copy if it is RGB: a large image would need twice its memory
        image.close()  # frees its pixels
    return _make_upright(rgb, orientation)


def _restore_low_bits(
    image: ImageFile.ImageFile, tiles: Sequence[Any], stream: IO[bytes], size: int, name: str
) -> PIL.Image.Image:
    """Scale a photo of 16 bits for each color by the bits in use; any other is returned as it is.

    Pillow reads the high bytes alone. Its decoder for the other byte order gives the low bytes.
    """
    arguments = tiles[0][3] if tiles else None
    first, *others = arguments if isinstance(arguments, tuple) else (arguments,)
    swapped = _OTHER_BYTE_ORDER.get(first) if isinstance(first, str) else None
    if swapped is None or not has_spare_bits(image):
        return image
    stream.seek(0)
    low = read_image_header(stream, size, name)
    changed = (swapped, *others) if others else swapped
    make_tile = getattr(ImageFile, "_Tile", lambda *values: values)  # a plain tuple before Pillow 11
    low.tile = [make_tile(*tile[:3], changed) for tile in low.tile]
    low.load()
    joined = join_bytes(image, low)
    joined.info = image.info
    return joined


def _read_orientation(image: PIL.Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it is missing or unreadable."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block raises nearly anything, and the pixels are still good
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSE_BY_ORIENTATION else 1


def _make_upright(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    """Turn an RGB image upright and close it; band by band, to need less than twice its memory."""
    if orientation == 1:
        return image
    bands = list(image.split())
    image.close()
    for i in range(len(bands)):  # no name may keep a band that has been turned
        bands[i] = bands[i].transpose(_TRANSPOSE_BY_ORIENTATION[orientation])
    return PIL.Image.merge("RGB", bands)
