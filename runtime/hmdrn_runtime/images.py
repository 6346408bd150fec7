"""Photographs into network inputs: reading, checking, cropping and resizing.

The network looks at an RGB uint8 array of (84, 84, 3); its normalisation is part of the graph. Every
photograph comes here first, whatever it is kept in, and leaves as that array or with an `ImageError`.
Files are taken for hostile: their size is checked before a pixel is decoded, and whatever a decoder
raises on damaged bytes becomes an `ImageError`.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Resampling, Transpose

from hmdrn_runtime.errors import ImageError

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | PIL.Image.Image | npt.NDArray[np.uint8]
"""A path, an image file's bytes, a Pillow image, or an RGB uint8 array of (height, width, 3)."""

Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are exclusive."""

INPUT_SIZE = 84
"""Height and width of the network's input, in pixels."""
RESIZE = 92
"""Pixels of the side that an image is resized to before its centre is cut out."""
MIN_SIDE = 8
"""Fewest pixels of an image's or a clipped box's shorter side."""
MAX_PIXELS = 64_000_000
"""Most pixels (width times height) of an image."""
MAX_ASPECT = 20.0
"""Largest ratio of an image's longer side to its shorter side."""
PREPROCESSINGS = ("crop", "squash")
"""How a whole image becomes square: cut out of its middle, or squeezed."""

_FORMATS = "JPEG, PNG, WebP, BMP, TIFF, PPM or GIF"
_ORIENTATION_TAG = 0x0112
_WHITE = (255, 255, 255)

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

# The plugins are picked here by the file's first bytes and not by Image.open, which would offer hostile
# bytes to every decoder installed (one of them starts an interpreter of PostScript).
_READERS: tuple[tuple[tuple[bytes, ...], type[ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"PF", b"Pf"), PpmImagePlugin.PpmImageFile),
)


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
            `MIN_SIDE` on a side, larger than `MAX_PIXELS`, or longer than `MAX_ASPECT` times its width.

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
            f"{name} cannot be decoded ({_one_line(error)}): the image is damaged or unusual; "
            "save it again as JPEG or PNG"
        ) from error
    # Metadata must not survive: an orientation that stayed would be applied again by the next reader.
    image.info = {}
    return image


def crop_box(image: PIL.Image.Image, box: Box) -> PIL.Image.Image:
    """Cut a box out of an image.

    Args:
        image: an RGB image, as `load_image` returns it.
        box: x0, y0, x1, y1 in pixels of that image. It is rounded to whole pixels (halves to even) and
            clipped to the image.

    Returns:
        A new RGB image of the clipped box.

    Raises:
        ImageError: the box is not four finite numbers with x1 > x0 and y1 > y0, lies outside the image,
            or has a side under `MIN_SIDE` within it; or the image is not RGB.

    """
    return _crop(image, box, describe_source(image))


def preprocess(image: PIL.Image.Image, mode: str) -> npt.NDArray[np.uint8]:
    """Turn an image into the network's input.

    Args:
        image: an RGB image, as `load_image` returns it.
        mode: "crop" resizes the shorter side to 92 pixels and keeps the aspect, for whole photographs;
            "squash" resizes to 92 x 92, for photographs cropped to the animal or plant. Both cut the
            middle 84 x 84 out of that. An image of 84 x 84 is taken as it is.

    Returns:
        RGB uint8 array of (84, 84, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: the mode is unknown; the image is not RGB, or its size is refused by `load_image`.

    """
    return _network_input(image, mode, describe_source(image))


def prepare(source: ImageSource, mode: str, box: Box | None = None) -> npt.NDArray[np.uint8]:
    """Read a photograph, cut out `box` if given, and turn it into the network's input.

    See `load_image`, `crop_box` and `preprocess` for the arguments.

    Returns:
        RGB uint8 array of (84, 84, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: as those three do, naming the source.

    """
    _check_mode(mode)
    name = describe_source(source)
    image = load_image(source)
    if box is not None:
        image = _crop(image, box, name)
    return _network_input(image, mode, name)


def digest(pixels: npt.NDArray[np.uint8]) -> str:
    """Identify a photograph by its network input.

    Args:
        pixels: RGB uint8 array of (84, 84, 3), as `preprocess` returns it.

    Returns:
        The SHA-256 of its bytes in C order, 64 lower-case hexadecimal digits.

    Raises:
        ImageError: the array has another shape or type.

    """
    if pixels.shape != (INPUT_SIZE, INPUT_SIZE, 3) or pixels.dtype != np.uint8:
        raise ImageError(
            f"{describe_source(pixels)} is no network input: "
            f"pass a uint8 array of ({INPUT_SIZE}, {INPUT_SIZE}, 3), as prepare() returns it"
        )
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def describe_source(source: object) -> str:
    """Name an image source in a message, in one line.

    Returns:
        The path, "<bytes, 1234>", "<PIL image 640x480 RGB>", "<array (480, 640, 3) uint8>", or
        "<int>" for an object of another type.

    """
    if isinstance(source, np.ndarray):
        return f"<array {source.shape} {source.dtype}>"
    if isinstance(source, PIL.Image.Image):
        return f"<PIL image {source.width}x{source.height} {source.mode}>"
    if isinstance(source, bytes):
        return f"<bytes, {len(source)}>"
    if isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        return text if text.isprintable() else repr(text)
    return f"<{type(source).__name__}>"


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


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def _check_size(width: int, height: int, name: str) -> None:
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
    with _open(source, name) as stream:
        return _from_stream(stream, os.fstat(stream.fileno()).st_size, name)


def _open(source: str | os.PathLike[str], name: str) -> IO[bytes]:
    try:
        path = Path(os.fsdecode(source)).expanduser()
        if path.is_dir():
            raise ImageError(f"{name} is a folder: pass the path of one image file")
        if not path.exists():
            raise ImageError(f"{name} does not exist: check the path")
        if not path.is_file():  # to open a pipe or a device may block for ever
            raise ImageError(f"{name} is not a regular file: pass the path of an image file")
        return path.open("rb")
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no home to expand "~user" to
        raise ImageError(
            f"{name} cannot be opened ({_one_line(error)}): check the path and its permissions"
        ) from error


def _from_stream(stream: IO[bytes], size: int, name: str) -> PIL.Image.Image:
    if size == 0:
        raise ImageError(f"{name} is empty: pass an image file of 1 byte or more")
    head = stream.read(16)
    stream.seek(0)
    for beginnings, reader in _READERS:
        if head.startswith(beginnings):
            image = reader(stream)  # reads the header and no pixel
            break
    else:
        raise ImageError(
            f"{name} is not an image of a known format (it begins with {head[:12]!r}): "
            f"convert it to {_FORMATS}"
        )
    _check_size(image.width, image.height, name)
    return _to_upright_rgb(image, name)


def _from_pillow(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    _check_size(image.width, image.height, name)
    # A copy, since conversions of palettes write into the image; its metadata does not all come along.
    orientation = _orientation(image)
    own = image.copy()
    return _turn(_to_rgb(own, name), orientation)


def _from_array(array: npt.NDArray[np.generic], name: str) -> PIL.Image.Image:
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
    _check_size(width, height, name)
    # A copy even of an array that Pillow could use in place: the caller may write into it later.
    return PIL.Image.fromarray(np.array(array, dtype=np.uint8, order="C", subok=False))


def _to_upright_rgb(image: ImageFile.ImageFile, name: str) -> PIL.Image.Image:
    """Decode an opened file. Decoding comes first: TIFF is turned by it, PNG may end with its EXIF."""
    image.load()
    return _turn(_to_rgb(image, name), _orientation(image))


def _orientation(image: PIL.Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block raises nearly anything, and the pixels are still good
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _turn(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """A new RGB image of the same size; `image` may be changed."""
    if image.mode == "F":
        raise ImageError(
            f"{name} holds floating-point pixels (mode F), whose range is unknown: "
            "scale it to 0..255 and convert it to 8 bits"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _to_8_bits(image, name).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _to_8_bits(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Grey of 16 bits, or of 32 bits within the range of 16, as grey of 8 bits."""
    wide = np.asarray(image)
    low, high = int(wide.min()), int(wide.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{name} holds grey values of {low} to {high}: scale them to 0..65535 or convert it to 8 bits"
        )
    # The high byte, as Pillow takes it from 16-bit colour. A 32-bit image without any may hold 8 bits
    # (Pillow's own conversion to "I" makes such) and would turn black.
    narrow = wide if image.mode == "I" and high <= 255 else wide >> 8
    grey = narrow.astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[wide == transparent] = 255
    return PIL.Image.fromarray(grey)


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "La":  # alpha multiplied in; Pillow takes it to RGBA by way of LA alone
        image = image.convert("LA")
    seen = image if image.mode == "RGBA" else image.convert("RGBA")
    white = PIL.Image.new("RGB", seen.size, _WHITE)
    white.paste(seen, mask=seen)
    return white


def _crop(image: PIL.Image.Image, box: Box, name: str) -> PIL.Image.Image:
    _check_rgb(image)
    try:
        x0, y0, x1, y1 = (float(value) for value in box)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(
            f"box {box!r} for {name} is not four numbers: pass x0, y0, x1, y1 in pixels"
        ) from error
    shown = f"({x0:g}, {y0:g}, {x1:g}, {y1:g})"
    if not all(math.isfinite(value) for value in (x0, y0, x1, y1)):
        raise ImageError(f"box {shown} for {name} is not finite: pass x0, y0, x1, y1 in pixels")
    if x1 <= x0 or y1 <= y0:
        raise ImageError(f"box {shown} for {name} is empty: pass x0, y0, x1, y1 with x1 > x0 and y1 > y0")
    left, right = (min(max(round(x), 0), image.width) for x in (x0, x1))
    top, bottom = (min(max(round(y), 0), image.height) for y in (y0, y1))
    width, height = right - left, bottom - top
    size = f"{image.width}x{image.height} pixels"
    if width == 0 or height == 0:
        raise ImageError(f"box {shown} lies outside {name} of {size}: give it in pixels of the upright image")
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"box {shown} covers {width}x{height} pixels of {name} of {size}: "
            f"each side must have at least {MIN_SIDE}; use a larger box"
        )
    # Not Image.crop, which applies Pillow's limit of pixels.
    part = PIL.Image.new("RGB", (width, height))
    part.paste(image, (-left, -top))
    return part


def _network_input(image: PIL.Image.Image, mode: str, name: str) -> npt.NDArray[np.uint8]:
    _check_mode(mode)
    _check_rgb(image)
    if image.size == (INPUT_SIZE, INPUT_SIZE):
        return np.array(image, dtype=np.uint8, order="C")
    _check_size(image.width, image.height, name)
    resized = np.asarray(image.resize(_resized(image.width, image.height, mode), Resampling.BILINEAR))
    top, left = (round((side - INPUT_SIZE) / 2.0) for side in resized.shape[:2])
    middle = resized[top : top + INPUT_SIZE, left : left + INPUT_SIZE]
    return np.array(middle, dtype=np.uint8, order="C")


def _resized(width: int, height: int, mode: str) -> tuple[int, int]:
    """Width and height to resize to, in the arithmetic of torchvision's Resize, which trained the network."""
    if mode == "squash":
        return RESIZE, RESIZE
    if width <= height:
        return RESIZE, int(RESIZE * height / width)
    return int(RESIZE * width / height), RESIZE


def _check_mode(mode: str) -> None:
    if mode not in PREPROCESSINGS:
        raise ImageError(f"unknown preprocessing {mode!r}: choose one of {', '.join(PREPROCESSINGS)}")


def _check_rgb(image: PIL.Image.Image) -> None:
    if image.mode != "RGB":
        raise ImageError(f"{describe_source(image)} is not RGB: pass it through load_image() first")
