"""Conversion of photos with an ICC color profile to sRGB, the colors that the network was trained on."""

from __future__ import annotations

import functools
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image

_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}
"""Color spaces of the profiles that fit a mode."""
_OUTPUTS = {"L": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
_MAX_PROFILE = 4_000_000
"""Most bytes of a profile; those of printing inks have up to 2 MB."""
_CACHED = 8


def convert_to_srgb(image: PIL.Image.Image, profile: object) -> PIL.Image.Image:
    """Return an image in sRGB; the intent is perceptual, as Pillow's default and in browsers.

    Args:
        image: An image of any mode; it may be changed, and returned.
        profile: Bytes of its ICC profile. One that is broken, or is not of the image's color space, is
            ignored, as if there were none.
    """
    if not isinstance(profile, bytes) or len(profile) > _MAX_PROFILE:
        return image
    image.info.pop("icc_profile", None)
    if image.mode == "P" or (image.mode == "RGB" and image.has_transparency_data):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("LA", "La") or (image.mode == "L" and image.has_transparency_data):
        return _convert_gray_with_alpha(image.convert("LA"), profile)
    if image.mode not in _SPACES:
        return image
    try:
        transform = _make_transform(profile, image.mode)
        if transform is None:
            return image
        if image.mode == _OUTPUTS[image.mode]:
            transform.apply_in_place(image)
            return image
        return transform.apply(image)  # type: ignore[no-any-return]
    except Exception:  # of nearly any type; the pixels are still good
        return image


def _convert_gray_with_alpha(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    converted = convert_to_srgb(image.getchannel("L"), profile).convert("RGB")
    converted.putalpha(image.getchannel("A"))
    return converted


@functools.lru_cache(_CACHED)
def _make_transform(profile: bytes, mode: str) -> Any | None:
    """Return the transform from a profile to sRGB; None if it changes no color by more than 1 of 255."""
    from PIL import ImageCms  # only photos with a profile need it

    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    if source.profile.xcolor_space.strip() != _SPACES[mode]:
        return None
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, _OUTPUTS[mode])
    if mode == "CMYK":
        return transform
    # By its colors, not by its name: there are many profiles of sRGB, of as many names.
    levels = np.arange(0, 256, 15).astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)
    if mode == "L":
        colors = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    samples = PIL.Image.fromarray(colors)
    converted = np.asarray(transform.apply(samples.convert(mode)).convert("RGB"), dtype=np.int16)
    return transform if np.abs(converted - colors).max() > 1 else None
