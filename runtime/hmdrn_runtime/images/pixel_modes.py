"""Conversion of Pillow's pixel modes to RGB with 8 bits per channel."""

from __future__ import annotations

import numpy as np
import PIL.Image

from hmdrn_runtime.errors import ImageError


def convert_to_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Return a new RGB image of the same size; `image` may be changed."""
    if image.mode == "F":
        raise ImageError(
            f"{name} holds floating-point pixels (mode F), whose range is unknown: "
            "scale it to 0..255 and convert it to 8 bits"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _scale_gray(image, name).convert("RGB")
    if image.has_transparency_data:
        return _blend_with_white(image)
    return image.convert("RGB")


def _scale_gray(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Convert gray of 16 bits, or of 32 bits within the range of 16, to 8 bits."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{name} holds gray values of {low} to {high}: scale them to 0..65535 or convert it to 8 bits"
        )
    # The high byte, as Pillow does with 16-bit color. A 32-bit image without one may hold 8 bits, as
    # Pillow's own conversion to "I" gives, and would turn black.
    eight_bit = image.mode == "I" and high <= 255
    gray = (values if eight_bit else values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray[values == transparent] = 255
    return PIL.Image.fromarray(gray)


def _blend_with_white(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "La":  # premultiplied alpha, which Pillow converts to RGBA only by way of LA
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = PIL.Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba)
    return white
