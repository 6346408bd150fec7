"""Crop, scale and encode a photo of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import PIL.Image

from hmdrn_runtime.errors import DatasetError, ImageError
from hmdrn_runtime.images.decoding import check_size, load_image
from hmdrn_runtime.images.formats import read_image_header
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import format_error

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Crop:
    """The part of a photo to keep, in pixels of the file.

    Attributes:
        box: Left, top, right and bottom edge, counted from 0, finite; clipped to the photo. None for the
            whole photo.
        banner: Rows at the bottom that do not belong to the photo.
    """

    box: tuple[float, float, float, float] | None = None
    banner: int = 0

    def clip(self, width: int, height: int, name: str) -> tuple[int, int, int, int]:
        """Return the edges within a photo of this size; a box outside of it raises a DatasetError."""
        left, top, right, bottom = 0, 0, width, height - self.banner
        if self.box is not None:
            x0, y0, x1, y1 = (round(edge) for edge in self.box)  # as Pillow's crop rounds
            left, top, right, bottom = max(left, x0), max(top, y0), min(right, x1), min(bottom, y1)
        if left >= right or top >= bottom:
            raise DatasetError(
                f"{name} is {width}x{height} pixels, and its box {self.box} lies outside of it: "
                "the annotations are damaged or of another data set"
            )
        return left, top, right, bottom


def encode_photo(data: bytes, name: str, crop: Crop, side: int) -> bytes:
    """Crop and scale a photo and encode it as JPEG.

    Args:
        data: The photo's file in the archive.
        name: The photo's name in messages.
        crop: The part to keep.
        side: Most pixels of the result's shorter side; 0 for no limit.

    Returns:
        The unchanged file if nothing is cropped or scaled, a new JPEG otherwise.

    Raises:
        ImageError: The photo cannot be decoded.
        DatasetError: Its box lies outside of it.
    """
    image = _load_part(data, name, crop)
    short = min(image.size)
    if crop == Crop() and (side == 0 or short <= side):
        return data
    if 0 < side < short:
        width, height = (max(1, round(length * side / short)) for length in image.size)
        image = image.resize((width, height), PIL.Image.Resampling.LANCZOS)
    file = BytesIO()
    # At this size, colors at half the resolution would show.
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _load_part(data: bytes, name: str, crop: Crop) -> PIL.Image.Image:
    """Load the part of a photo to keep, upright and RGB."""
    source: bytes | PIL.Image.Image = data
    try:
        if crop != Crop():
            # Boxes count the file's pixels, so the photo is cropped before it is turned upright.
            whole = read_image_header(BytesIO(data), len(data), name)
            check_size(whole.width, whole.height, name)
            source = whole.crop(crop.clip(whole.width, whole.height, name))
        return load_image(source)
    except DatasetError:
        raise
    except ImageError as error:
        raise ImageError(str(error).replace(describe_source(source), name, 1)) from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageError(f"{name} cannot be decoded ({format_error(error)}): the photo is damaged") from error
