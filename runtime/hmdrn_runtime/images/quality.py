"""Whether a photo is fit to teach a species: sharpness, exposure and size, measured without the network.

The limits of sharpness and exposure were found on 510 photographs of seven groups (birds, dogs, butterflies,
flowers, monkeys, fish) and on copies of them, blurred or multiplied in brightness, at 84 x 84 pixels. Each
doubts under 1 % of the photographs. A Gaussian of 1.5 pixels is noticed in over 90 % of the copies (of
1 pixel: in half), an eighth of the light in 95 %, threefold light in over half. Those of size and of
sameness were chosen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import describe_source, preprocess

SHARP = 0.03
"""Least variance of the Laplacian over the variance of the grey values."""
DARK, DARK_SHARE = 24, 0.6
"""Grey value below which a pixel is black, and the largest share of such pixels."""
BRIGHT, BRIGHT_SHARE = 246, 0.45
"""Grey value above which a pixel is white, and the largest share of such pixels."""
SMALL = 48
"""Fewest pixels of a source's shorter side."""
SAME = 3.0
"""Root mean square of the difference of two photos, in grey values, below which one is the other's copy."""


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photograph made ready for the network.

    Attributes:
        pixels: The network's input, RGB uint8 (84, 84, 3).
        side: Pixels of the source's shorter side.
        name: What to call it.
    """

    pixels: npt.NDArray[np.uint8]
    side: int
    name: str = ""


PhotoSource: TypeAlias = (
    str | os.PathLike[str] | bytes | PIL.Image.Image | npt.NDArray[np.uint8] | PreparedPhoto
)
"""As `ImageSource`; or a photograph that was made ready before."""


@dataclass(frozen=True)
class Quality:
    """What was measured of a photo.

    Attributes:
        sharpness: Variance of the Laplacian over the variance of the grey values; 0 for a plain picture.
            (Variance of the Laplacian: Pech-Pacheco et al., ICPR 2000. Dividing makes it blind to light.)
        dark: Share of pixels that are all but black, 0-1.
        bright: Share of pixels that are all but white, 0-1.
        side: Pixels of the source's shorter side.
    """

    sharpness: float
    dark: float
    bright: float
    side: int

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is wrong with the photo, in words; empty for a good one."""
        found = []
        if self.side < SMALL:
            found.append(f"too small ({self.side} pixels)")
        if self.dark > DARK_SHARE:
            found.append("too dark")
        if self.bright > BRIGHT_SHARE:
            found.append("blown out")
        if self.sharpness < SHARP:
            found.append("blurred")
        return tuple(found)


def prepare_photo(source: PhotoSource, mode: str, name: str = "") -> PreparedPhoto:
    """Read a photograph and turn it into the network's input.

    Args:
        source: As `images.load_image`; what was made ready before is returned as it is.
        mode: As for `images.preprocess`.
        name: What to call it; a description of the source if empty.

    Raises:
        ImageError: As `images.prepare`.
    """
    if isinstance(source, PreparedPhoto):
        return source
    image = load_image(source)
    return PreparedPhoto(preprocess(image, mode), min(image.size), name or describe_source(source))


def measure_quality(sight: PreparedPhoto) -> Quality:
    """Measure a photo at the network's resolution."""
    y = grey(sight.pixels)
    middle = y[1:-1, 1:-1]
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * middle
    return Quality(
        float(laplacian.var() / (y.var() + 1)),
        float((y < DARK).mean()),
        float((y > BRIGHT).mean()),
        sight.side,
    )


def grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Luminance (84, 84) of RGB pixels (84, 84, 3), 0-255, by the weights of ITU-R BT.601."""
    return np.asarray(pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def is_near_duplicate(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    """Whether two network inputs are of one photograph, saved twice or shot in one burst."""
    difference = one.astype(np.float64) - other
    return bool(np.sqrt((difference**2).mean()) < SAME)
