"""Films of photographs, as a camera that goes from one to the next would take them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

RATE = 30


def film(path: Path, photos: Iterable[Image.Image], seconds: float = 2.0, side: int = 240) -> Path:
    """Show each photo for some seconds, its middle square, held by a hand that is not quite still."""
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG")), RATE, (side, side)
    )
    assert writer.isOpened()
    for photo in photos:
        short = min(photo.size)
        left, top = (photo.width - short) // 2, (photo.height - short) // 2
        square = photo.crop((left, top, left + short, top + short)).resize((side + 8, side + 8))
        pixels = np.asarray(square)[..., ::-1]
        for number in range(round(seconds * RATE)):
            x, y = (round(4 + 4 * np.sin(number / pace)) for pace in (5, 7))
            writer.write(np.ascontiguousarray(pixels[y : y + side, x : x + side]))
    writer.release()
    return path
