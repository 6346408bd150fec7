"""A photograph of an archive into one of the result: cut, scaled down, saved as JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import PIL.Image

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import check_size, load_image
from hmdrn_runtime.images.formats import read_header
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import one_line

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Cut:
    """What to cut out of a photo, in pixels of the file.

    Attributes:
        box: Left, top, right and bottom edge, counted from 0; what lies beyond the photo is clipped.
            None for all of it; otherwise finite numbers.
        banner: Rows at the bottom that are no part of the photo.
    """

    box: tuple[float, float, float, float] | None = None
    banner: int = 0

    def edges(self, width: int, height: int, name: str) -> tuple[int, int, int, int]:
        """The edges within a photo of this size.

        Raises:
            ImageError: Nothing is left.
        """
        left, top, right, bottom = 0, 0, width, height - self.banner
        if self.box is not None:
            # Rounded as Pillow's crop does.
            box = [round(edge) for edge in self.box]
            left, top = max(left, box[0]), max(top, box[1])
            right, bottom = min(right, box[2]), min(bottom, box[3])
        if left >= right or top >= bottom:
            raise ImageError(
                f"{name} is {width}x{height} pixels, and its box {self.box} lies outside of it: "
                "the annotations are damaged or of another data set"
            )
        return left, top, right, bottom


def picture(data: bytes, name: str, cut: Cut, side: int) -> bytes:
    """The JPEG file that a photo becomes.

    Args:
        data: Its file in the archive.
        name: What messages call it.
        cut: What to cut out of it.
        side: Most pixels of the result's shorter side, 0 for no limit.

    Returns:
        The file as it was where nothing is cut off and nothing scaled, a new JPEG otherwise.

    Raises:
        ImageError: The photo cannot be decoded, or its box is not in it.
    """
    image = _load(data, name, cut)
    short = min(image.size)
    if cut == Cut() and (side == 0 or short <= side):
        return data
    if 0 < side < short:
        width, height = (max(1, round(length * side / short)) for length in image.size)
        image = image.resize((width, height), PIL.Image.Resampling.LANCZOS)
    file = BytesIO()
    # At this size, colours at half the resolution would show.
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _load(data: bytes, name: str, cut: Cut) -> PIL.Image.Image:
    """The part of a photo that is kept, upright and RGB."""
    if cut == Cut():
        return _named(data, name)
    try:
        # Boxes count the file's pixels, so they are cut out before the photo is turned upright.
        whole = read_header(BytesIO(data), len(data), name)
        check_size(whole.width, whole.height, name)
        part = whole.crop(cut.edges(whole.width, whole.height, name))
    except ImageError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise ImageError(f"{name} cannot be decoded ({one_line(error)}): the photo is damaged") from error
    return _named(part, name)


def _named(source: bytes | PIL.Image.Image, name: str) -> PIL.Image.Image:
    try:
        return load_image(source)
    except ImageError as error:
        raise ImageError(str(error).replace(describe_source(source), name, 1)) from error
