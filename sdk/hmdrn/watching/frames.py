"""A frame on its way from the source to the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import PIL.Image

from hmdrn.watching.captures import Pixels
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.decoding import load_image


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        index: Its number among all frames that were read, from 0; of a file, its place in it.
        position: Seconds: of a file, in the film; of a live source, since watching began.
        time: When it was captured, in seconds since 1970 (UTC).
        captured: The same on the monotonic clock that latencies are measured with: the moment when it was
            handed over by the driver, decoder or network, which is after its exposure.
        pixels: As they were captured.
    """

    index: int
    position: float
    time: float
    captured: float
    pixels: Pixels = field(repr=False)

    @property
    def file(self) -> str | None:
        """The photo's path, of a folder; None of anything else."""
        return str(self.pixels) if isinstance(self.pixels, Path) else None

    @cached_property
    def image(self) -> PIL.Image.Image:
        """The frame upright, in RGB; to enroll it, classify it or show it.

        Raises:
            ImageError: It cannot be read, or the source gives no 8-bit colour or grey.
        """
        if isinstance(self.pixels, Path):
            return load_image(self.pixels)
        shape = self.pixels.shape
        if len(shape) == 2:
            return PIL.Image.fromarray(self.pixels).convert("RGB")
        if len(shape) != 3 or shape[2] != 3:
            raise ImageError(f"a frame of shape {shape} is neither BGR nor grey: convert it in the pipeline")
        size = (shape[1], shape[0])
        return PIL.Image.frombytes("RGB", size, self.pixels.tobytes(), "raw", "BGR")
