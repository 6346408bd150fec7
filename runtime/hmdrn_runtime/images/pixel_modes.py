"""Pillow's modes of pixels, all into RGB of 8 bits a channel."""

from __future__ import annotations

import numpy as np
import PIL.Image

from hmdrn_runtime.errors import ImageError

_WHITE = (255, 255, 255)


def to_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
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
