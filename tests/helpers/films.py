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


def film_visits(
    path: Path, photos: Iterable[Image.Image], seconds: float = 2.5, pause: float = 1.0, side: int = 240
) -> Path:
    """Show each photo as a round subject that flies in, sits and flies off before a still background.

    There are 10 frames a second, with a camera's noise, and a pause before and after each subject.
    """
    rate, random = 10, np.random.default_rng(0)
    coarse = random.integers(80, 150, (6, 6, 3), dtype=np.uint8)
    background = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    height = side // 2
    mask = cv2.circle(np.zeros((height, height)), (height // 2, height // 2), height // 2 - 2, 1.0, -1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (side, side))
    assert writer.isOpened()

    def write(pixels):
        noise = random.normal(0, 2, (side, side, 1))
        writer.write(np.clip(pixels + noise, 0, 255).astype(np.uint8))

    def write_pause():
        for _ in range(round(pause * rate)):
            write(background)

    write_pause()
    for photo in photos:
        subject = np.asarray(photo.convert("RGB").resize((height, height)), np.int16)[..., ::-1]
        count = round(seconds * rate)
        for number in range(count):
            # Three frames to fly in from the left, three to fly off to the right.
            left = round(side * (1 / 4 - max(0, 3 - number) / 6 + max(0, number + 4 - count) / 6))
            first, last = max(0, left), min(side, left + height)
            inside = np.s_[:, first - left : last - left]
            frame = background.copy()
            part = frame[side // 4 : side // 4 + height, first:last]
            part[mask[inside] > 0] = subject[inside][mask[inside] > 0]
            write(frame)
        write_pause()
    writer.release()
    return path
