"""Copies of photos, and bursts: frames of one scene, simulated by small motions."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

JPEG_QUALITIES = (40, 60, 95)
CROPS = (0.01, 0.03, 0.05)
MOTIONS = (0.02, 0.03, 0.05, 0.07)
"""Largest zoom and shift of a frame, as shares of the picture; it turns by up to as many times 60 degrees."""
NOISE = 3.0
"""Standard deviation of a frame's noise, in gray values."""


def compress(image: Image.Image, quality: int) -> Image.Image:
    """Return a picture as it is read after saving it as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def crop(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Cut a share of width and height off a picture's borders."""
    width, height = image.size
    x, y = rng.random(2) * share
    box = (x * width, y * height, width - (share - x) * width, height - (share - y) * height)
    return image.crop(tuple(map(round, box)))


def move(image: Image.Image, motion: float, rng: np.random.Generator) -> Image.Image:
    """Return another frame of a picture: zoomed, turned, shifted, of another light, noisy and compressed."""
    zoom, angle = 1 + rng.uniform(-motion, motion), np.deg2rad(rng.uniform(-motion, motion) * 60)
    width, height = image.size
    dx, dy = rng.uniform(-motion, motion, 2) * [width, height]
    a, b = np.cos(angle) / zoom, np.sin(angle) / zoom
    x, y = width / 2, height / 2
    matrix = (a, -b, x - a * x + b * y + dx, b, a, y - b * x - a * y + dy)
    moved = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    margin = int(motion * min(image.size))  # without the black border
    pixels = np.asarray(moved.crop((margin, margin, width - margin, height - margin)), np.float64)
    pixels = pixels * (1 + rng.uniform(-2 * motion, 2 * motion)) + rng.normal(0, NOISE, pixels.shape)
    return compress(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), 85)


def make_copies(image: Image.Image, rng: np.random.Generator) -> dict[str, Image.Image]:
    """Return changed copies of a picture by the kind of change."""
    copies = {f"JPEG quality {quality}": compress(image, quality) for quality in JPEG_QUALITIES}
    copies |= {f"cropped by {100 * share:.0f} %": crop(image, share, rng) for share in CROPS}
    return copies | {f"moved by up to {100 * motion:.0f} %": move(image, motion, rng) for motion in MOTIONS}


def film(image: Image.Image, frames: int, rng: np.random.Generator) -> list[Image.Image]:
    """Return the frames of a short film of a picture; each is moved by up to 2 % from the one before."""
    taken = [image]
    while len(taken) < frames:
        taken.append(move(taken[-1], MOTIONS[0], rng))
    return taken
