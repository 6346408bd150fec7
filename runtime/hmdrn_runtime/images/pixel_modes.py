"""Conversion of Pillow's pixel modes to RGB with 8 bits per channel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import PIL.Image
from PIL import ImageChops, TiffImagePlugin

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.color_profiles import convert_to_srgb

_MAX_SAMPLE_VALUE = 281
"""A TIFF's tag for the highest value that a pixel may have."""


def convert_to_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Return an RGB image of the same size, in sRGB; `image` may be changed, and is returned if it is RGB."""
    if image.mode == "F":
        raise ImageError(
            f"{name} holds floating-point pixels (mode F), whose range is unknown: "
            "scale it to 0..255 and convert it to 8 bits"
        )
    profile = image.info.get("icc_profile")
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _scale_gray(image, name)
    if profile:
        image = convert_to_srgb(image, profile)
    if image.has_transparency_data:
        return _blend_with_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def find_bit_depth(highest: int) -> int:
    """Return the bits in use of a photo's 16: 8, 10, 12, 14 or 16, the fewest that hold its highest value.

    Sensors of 10 to 14 bits leave the upper ones of 16 empty, and Pillow's conversion to "I" uses 8.
    """
    return max(8, highest.bit_length() + highest.bit_length() % 2)


def has_spare_bits(high: PIL.Image.Image) -> bool:
    """Return True if the colors of a photo of 16 bits need at most 14, by its high bytes: RGB or RGBA."""
    return _find_highest(high.split()[:3]) < 64


def _find_highest(bands: Iterable[PIL.Image.Image]) -> int:
    return max(int(np.max(band.getextrema())) for band in bands)


def join_bytes(high: PIL.Image.Image, low: PIL.Image.Image) -> PIL.Image.Image:
    """Scale a photo of 16 bits for each color by the bits in use, as gray is scaled.

    Args:
        high: RGB or RGBA, the high bytes, as Pillow reads such a photo.
        low: The low bytes, of the same mode; their alpha is not used.

    Returns:
        An image of that mode, with the alpha of `high`.
    """
    bands = high.split()
    colors = bands[:3]
    depth = find_bit_depth(_find_highest(colors) << 8)
    joined = [
        ImageChops.add(
            band.point(lambda value: value << (16 - depth) & 255),
            below.point(lambda value: value >> (depth - 8)),
        )
        for band, below in zip(colors, low.split(), strict=False)
    ]
    return PIL.Image.merge(high.mode, (*joined, *bands[3:]))


def _scale_gray(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Convert gray of 16 bits, or of 32 bits within the range of 16, to 8 bits."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{name} holds gray values of {low} to {high}: scale them to 0..65535 or convert it to 8 bits"
        )
    gray = (values >> (_read_bit_depth(image, high) - 8)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray[values == transparent] = 255
    return PIL.Image.fromarray(gray)


def _read_bit_depth(image: PIL.Image.Image, highest: int) -> int:
    """Return the bits in use by a TIFF's tags, else by the highest value.

    The chunk sBIT of a PNG says nothing about it: by the standard its values fill all 16 bits.
    """
    tags = getattr(image, "tag_v2", {})
    with contextlib.suppress(TypeError, ValueError, OverflowError):  # damaged tags
        bits = int(np.min(tags.get(TiffImagePlugin.BITSPERSAMPLE, 16)))
        limit = int(np.max(tags.get(_MAX_SAMPLE_VALUE, 65535)))
        if max(highest, 255) < min(1 << bits, limit + 1) < 65536:
            return min(bits, find_bit_depth(limit))
    return find_bit_depth(highest)


def _blend_with_white(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "La":  # premultiplied alpha, which Pillow converts to RGBA only by way of LA
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = PIL.Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba)
    return white
