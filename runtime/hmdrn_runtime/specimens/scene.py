"""Photography of a specimen: its pose and light, the background, and the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from PIL import Image, ImageColor, ImageDraw, ImageFilter

from hmdrn_runtime.specimens.traits import Color

# Colors behind and in front, and the length, slenderness and number of the shapes in front.
_SCENES = (
    ("#26421e #46682c #68863e", "#3e6e2c #5c8a3a #80a24c", 68, 0.36, 9),  # foliage
    ("#3c5432 #5c7046 #80845c", "#788c46 #98a05c #58743a", 130, 0.06, 24),  # grass
    ("#48623c #687854 #3e543a", "#c496b8 #d6aec6 #b284b0", 60, 0.42, 12),  # lilac petals
    ("#425c34 #627642 #3c5032", "#d8ceb8 #d4c086 #ded6c8", 56, 0.36, 11),  # cream petals
    ("#58524a #70685e #48443e", "#928878 #7a7268 #a89c8a", 40, 0.8, 22),  # stones
    ("#463628 #604a34 #3a3026", "#8a623e #705236 #9e7850", 52, 0.45, 14),  # fallen leaves
)


@dataclass(frozen=True)
class Pose:
    """Pose of one specimen before the camera, and its light."""

    angle: float
    scale: float
    center: tuple[float, float]
    opened: tuple[float, float]
    sweep: float
    shear: float
    gain: Color
    slope: tuple[float, float]
    shadow: float
    wear: float


def draw_pose(rng: Generator) -> Pose:
    """Draw a random pose and light."""
    near, far = rng.uniform(0.92, 1.0), rng.uniform(0.55, 1.0)
    exposure, warmth, tint = rng.uniform(0.78, 1.15), rng.uniform(-0.1, 0.1), rng.uniform(-0.03, 0.03)
    slant, toward = rng.uniform(0.05, 0.3), rng.uniform(0, 2 * math.pi)
    return Pose(
        angle=math.radians(rng.uniform(-35, 35)),
        scale=rng.uniform(0.37, 0.46),
        center=(rng.uniform(0.45, 0.55), rng.uniform(0.44, 0.54)),
        opened=(near, far) if rng.random() < 0.5 else (far, near),
        sweep=rng.uniform(-0.14, 0.12),
        shear=rng.uniform(-0.1, 0.1),
        gain=(exposure * (1 + warmth), exposure * (1 + tint), exposure * (1 - warmth)),
        slope=(slant * math.cos(toward), slant * math.sin(toward)),
        shadow=rng.uniform(0.3, 0.6),
        wear=rng.uniform(0, 0.3),
    )


def draw_background(rng: Generator) -> Image.Image:
    """Draw leaves, grass, petals or stones out of focus: RGB (64, 64), to be enlarged."""
    behind, front, length, slender, number = _SCENES[rng.integers(len(_SCENES))]
    scene = Image.new("RGB", (64, 64), behind[:7])
    _scatter(scene, behind, 30, 0.7, 14, rng)
    scene = scene.filter(ImageFilter.GaussianBlur(4)).resize((128, 128), Image.Resampling.BILINEAR)
    _scatter(scene, front, length, slender, number, rng)
    return scene.reduce(2).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.6)))


def _scatter(
    scene: Image.Image, palette: str, length: float, slender: float, number: int, rng: Generator
) -> None:
    """Draw leaf-like shapes, or round ones if not slender, each with a lit and a shaded half."""
    colors = np.array([ImageColor.getrgb(name) for name in palette.split()])
    px, py, turn, long, glow = rng.uniform(0, 1, (5, number, 1))
    angle, reach = rng.uniform(0, 2 * math.pi) + 2.4 * turn, length * (0.35 + 0.3 * long)
    ax, ay, px, py = np.cos(angle) * reach, np.sin(angle) * reach, px * scene.width, py * scene.height
    t = np.linspace(-1, 1, 9)
    bulge = slender * (np.sqrt(1 - t * t) if slender > 0.6 else 1 - t * t)
    base = colors[rng.integers(len(colors), size=number)] * (0.8 + 0.4 * glow)
    halves = []
    for lean, light in ((1, 1.08), (-1, 0.9)):
        outline = np.stack([px + t * ax - lean * bulge * ay, py + t * ay + lean * bulge * ax], 2)
        fills = np.clip(base * light, 0, 255).astype(int).tolist()
        halves.append(list(zip(outline.reshape(number, -1).tolist(), fills, strict=True)))
    draw = ImageDraw.Draw(scene)
    for shape in zip(*halves, strict=True):
        for half, (red, green, blue) in shape:
            draw.polygon(half, fill=(red, green, blue))


def compose_photo(
    insect: Image.Image, scene: Image.Image, pose: Pose, rng: Generator
) -> npt.NDArray[np.uint8]:
    """Set the butterfly on its background, with its shadow, the light and the camera's noise."""
    size, (right, down) = insect.width, pose.slope
    # The shadow falls away from the light; a 32-pixel one is soft at any size.
    soft = insect.getchannel("A").resize((32, 32), Image.Resampling.BOX).filter(ImageFilter.BoxBlur(1))
    moved = (32 / size, 0, 10 * right, 0, 32 / size, 10 * down - 0.8)
    cast = soft.transform((size, size), Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR)
    scene = scene.resize((size, size), Image.Resampling.BICUBIC)
    image = np.asarray(scene).transpose(2, 0, 1).astype(np.float32, order="C")
    image *= 1 - np.asarray(cast, np.float32) * (pose.shadow / 255)
    pixels = np.asarray(insect).transpose(2, 0, 1).astype(np.float32, order="C")
    image += (pixels[:3] - image) * (pixels[3] * (1 / 255))
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    image *= np.asarray(pose.gain, np.float32)[:, None, None] * (1 + right * ramp + (down * ramp)[:, None])
    image += rng.standard_normal((size, size), dtype=np.float32) * 2.5
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0))
