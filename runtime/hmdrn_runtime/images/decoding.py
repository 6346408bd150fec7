"""Photographs, whatever they are kept in, into upright RGB images.

Files are taken for hostile: their size is checked before a pixel is decoded, and whatever a decoder
raises on damaged bytes becomes an `ImageError`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageFile
from PIL.Image import Transpose

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decode_limits import check_cost
from hmdrn_runtime.images.formats import open_file, read_header
from hmdrn_runtime.images.pixel_modes import to_rgb
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import one_line

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | PIL.Image.Image | npt.NDArray[np.uint8]
"""A path, an image file's bytes, a Pillow image, or an RGB uint8 array of (height, width, 3)."""

MIN_SIDE = 8
"""Fewest pixels of an image's or a clipped box's shorter side."""
MAX_PIXELS = 64_000_000
"""Most pixels (width times height) of an image."""
MAX_ASPECT = 20.0
"""Largest ratio of an image's longer side to its shorter side."""

_ORIENTATION_TAG = 0x0112

# What brings an image upright whose EXIF orientation is the key; 1 is upright.
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def load_image(source: ImageSource) -> PIL.Image.Image:
    """Read a photograph as an upright RGB image.

    Args:
        source: a path (`~` is expanded), the bytes of an image file, a Pillow image, or an RGB (not BGR)
            uint8 array of (height, width, 3). Files are JPEG, PNG, WebP, BMP, TIFF, PPM or GIF, and of
            several frames the first is taken; of a Pillow image, the frame it stands at.

    Returns:
        A new image of mode RGB, 8 bits a channel, turned as its EXIF orientation says and without
        metadata. Transparent pixels lie on white; 16-bit grey is scaled to 8 bits. 32-bit integer grey
        counts as 8-bit where no value is over 255, and as 16-bit otherwise.

    Raises:
        ImageError: the source is missing, empty, damaged, of an unknown format or type, shorter than
            `MIN_SIDE` on a side, larger than `MAX_PIXELS`, or longer than `MAX_ASPECT` times its width; or
            a file that takes more to decode than `decoding_cost` allows.

    """
    name = describe_source(source)
    try:
        with _pillow_limit():
            if isinstance(source, np.ndarray):
                image = _from_array(source, name)
            elif isinstance(source, PIL.Image.Image):
                image = _from_pillow(source, name)
            elif isinstance(source, bytes):
                image = _from_stream(BytesIO(source), len(source), name)
            elif isinstance(source, str | os.PathLike):
                image = _from_path(source, name)
            else:
                raise ImageError(
                    f"cannot read an image from {name}: pass a path, the bytes of an image file, "
                    "a Pillow image, or an RGB uint8 array of (height, width, 3)"
                )
    except ImageError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS} pixels: scale it down first") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageError(
            f"{name} cannot be decoded ({one_line(error)}): the image is damaged or unusual; "
            "save it again as JPEG or PNG"
        ) from error
    # Metadata must not survive: an orientation that stayed would be applied again by the next reader.
    image.info = {}
    return image


class _Lift:
    """How many readers hold Pillow's limit up at this moment, and what it was before the first."""

    lock = threading.Lock()
    holders = 0
    before: int | None = None


@contextmanager
def _pillow_limit() -> Iterator[None]:
    """Raise Pillow's limit of pixels to ours while images are read.

    Pillow's is process-wide and lower: it would warn about images that we take, or refuse them. A filter
    of warnings is process-wide too, and no safer between threads. Readers share one lift, so that none
    restores the limit while another decodes.
    """
    with _Lift.lock:
        if _Lift.holders == 0:
            _Lift.before = PIL.Image.MAX_IMAGE_PIXELS
            if _Lift.before is not None:
                PIL.Image.MAX_IMAGE_PIXELS = max(_Lift.before, MAX_PIXELS)
        _Lift.holders += 1
    try:
        yield
    finally:
        with _Lift.lock:
            _Lift.holders -= 1
            if _Lift.holders == 0:
                PIL.Image.MAX_IMAGE_PIXELS = _Lift.before


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a size in pixels that is not fit for the network."""
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        raise ImageError(
            f"{name} is {width}x{height} pixels: each side must have at least {MIN_SIDE}; "
            "use a larger photo or box"
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is {width}x{height} pixels, more than {MAX_PIXELS} altogether: scale it down first"
        )
    if long > MAX_ASPECT * short:
        raise ImageError(
            f"{name} is {width}x{height} pixels: one side is over {MAX_ASPECT:g} times the other; "
            "cut out the part that shows the subject"
        )


def _from_path(source: str | os.PathLike[str], name: str) -> PIL.Image.Image:
    with open_file(source, name) as stream:
        return _from_stream(stream, os.fstat(stream.fileno()).st_size, name)


def _from_stream(stream: IO[bytes], size: int, name: str) -> PIL.Image.Image:
    image = read_header(stream, size, name)
    check_size(image.width, image.height, name)
    check_cost(image, stream, size, name)
    return _to_upright_rgb(image, name)


def _from_pillow(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    check_size(image.width, image.height, name)
    # A copy, since conversions of palettes write into the image; its metadata does not all come along.
    orientation = _orientation(image)
    own = image.copy()
    return _turn(to_rgb(own, name), orientation)


def check_array(array: npt.NDArray[np.generic], name: str) -> None:
    """Refuse an array that is no RGB image of a size fit for the network."""
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
        raise ImageError(f"{name} has 1 channel: {expected}, such as np.dstack([grey] * 3)")
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"{name} is not shaped like an image: {expected}")
    height, width, _ = array.shape
    check_size(width, height, name)


def _from_array(array: npt.NDArray[np.generic], name: str) -> PIL.Image.Image:
    check_array(array, name)
    # A copy even of an array that Pillow could use in place: the caller may write into it later.
    return PIL.Image.fromarray(np.array(array, dtype=np.uint8, order="C", subok=False))


def _to_upright_rgb(image: ImageFile.ImageFile, name: str) -> PIL.Image.Image:
    """Decode an opened file. Decoding comes first: TIFF is turned by it, PNG may end with its EXIF."""
    image.load()
    orientation = _orientation(image)
    if image.mode == "RGB" and not image.has_transparency_data:
        return _turn(image, orientation)  # not a copy, which a large image has no memory for
    rgb = to_rgb(image, name)
    image.close()  # its pixels, which are no longer needed
    return _turn(rgb, orientation)


def _orientation(image: PIL.Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block raises nearly anything, and the pixels are still good
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _turn(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    """Bring an RGB image upright, which is given up: band by band, to have no two of it at once."""
    if orientation not in _UPRIGHT:
        return image
    bands = list(image.split())
    image.close()
    for i in range(len(bands)):  # no name may keep a band that has been turned
        bands[i] = bands[i].transpose(_UPRIGHT[orientation])
    return PIL.Image.merge("RGB", bands)
