"""Photos of a trail camera's card: drawn birds, with times in their EXIF."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from hmdrn_runtime.specimens.drawing import draw_specimens

SPECIES = ("Jay", "Wren")
DAY = datetime(2026, 5, 1, 8, 30)


def draw_birds() -> list[np.ndarray]:
    """Six photos of each of `SPECIES`."""
    return draw_specimens((9, 22), 6, size=128)


def write_photo(path: Path, pixels: np.ndarray, seconds: float | None = None) -> None:
    """Write a photo, with the time of its capture if there are `seconds` since `DAY`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if seconds is not None:
        exif.get_ifd(0x8769)[0x9003] = f"{DAY + timedelta(seconds=seconds):%Y:%m:%d %H:%M:%S}"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
