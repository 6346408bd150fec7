"""Specimens of invented, look-alike butterflies, drawn with NumPy and Pillow alone.

All species share one body plan and differ in small, constant markings, so that telling them apart is a
fine-grained task. Specimens of one species differ in pose, light, background, wear and by a little jitter.
Only arithmetic and square roots touch whole images: other functions round differently across platforms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFilter

_Bytes = npt.NDArray[np.uint8]
_Field = npt.NDArray[np.floating[Any]]
_Colour = tuple[float, float, float]
_Rng = np.random.Generator

_NAMES = (
    "Ringed Alpine Marsh Meadow Coastal Highland Woodland River Common Lesser Greater Northern Southern "
    "Eastern Western Evening Morning Harvest Painted Velvet Gilded Dappled Island Valley Heath Moorland "
    "Orchard Hermit Wandering Royal Lowland Twilight",
    "Amber Copper Ember Fern Umber Russet Thistle Sorrel Bramble Tawny Cinder Saffron Hazel Clover Acorn "
    "Rowan",
    "wing brow ling glider",
)

# The body plan, in half wing-spans: x outward from the body, y down.
_FOREWING = [(0.02, -0.07), (0.2, -0.27), (0.46, -0.49), (0.72, -0.64), (0.9, -0.7), (0.985, -0.66)]
_FOREWING += [(0.975, -0.53), (0.91, -0.37), (0.86, -0.2), (0.81, -0.04), (0.74, 0.075), (0.6, 0.1)]
_FOREWING += [(0.3, 0.06), (0.03, 0.03)]
_HINDWING = [(0.02, -0.03), (0.3, -0.1), (0.6, -0.06), (0.77, 0.07), (0.81, 0.22), (0.765, 0.37)]
_HINDWING += [(0.67, 0.51), (0.54, 0.61), (0.4, 0.665), (0.27, 0.67), (0.17, 0.6), (0.1, 0.45)]
_HINDWING += [(0.05, 0.27), (0.02, 0.1)]
_TAIL = [(0.47, 0.6), (0.46, 0.68), (0.455, 0.76), (0.475, 0.84), (0.45, 0.885), (0.405, 0.85), (0.385, 0.76)]
_TAIL += [(0.35, 0.68), (0.34, 0.6)]
_FORE_CELL, _HIND_CELL = ((0.44, -0.4), (0.47, -0.19)), ((0.44, 0.08), (0.29, 0.27))
_FORE_MARGIN, _HIND_MARGIN = (5, 11), (3, 11)  # the points above between which lies the outer margin
_WING_ORIGIN, _WING_EXTENT = (-0.02, -0.76), (1.06, 1.7)
_BODY_ORIGIN, _BODY_EXTENT = (-0.4, -0.75), (0.8, 1.4)

# Few and similar colours, so that colour alone does not tell the species apart.
_GROUNDS = ((0.85, 0.5, 0.17), (0.8, 0.43, 0.15), (0.74, 0.38, 0.17), (0.84, 0.56, 0.23))
_BORDERS = ((0.17, 0.1, 0.07), (0.27, 0.14, 0.07), (0.15, 0.13, 0.17), (0.36, 0.18, 0.08))
_BANDS = ((0.96, 0.85, 0.6), (0.95, 0.75, 0.42), (0.97, 0.9, 0.76))
_RINGS = ((0.97, 0.84, 0.45), (0.98, 0.93, 0.78), (0.93, 0.66, 0.25))
_PUPILS = ((0.97, 0.97, 0.95), (0.62, 0.76, 0.95))

# Colours behind and in front, and the length, slenderness and number of the shapes in front.
_SCENES = (
    ("#26421e #46682c #68863e", "#3e6e2c #5c8a3a #80a24c", 68, 0.36, 9),  # foliage
    ("#3c5432 #5c7046 #80845c", "#788c46 #98a05c #58743a", 130, 0.06, 24),  # grass
    ("#48623c #687854 #3e543a", "#c496b8 #d6aec6 #b284b0", 60, 0.42, 12),  # lilac petals
    ("#425c34 #627642 #3c5032", "#d8ceb8 #d4c086 #ded6c8", 56, 0.36, 11),  # cream petals
    ("#58524a #70685e #48443e", "#928878 #7a7268 #a89c8a", 40, 0.8, 22),  # stones
    ("#463628 #604a34 #3a3026", "#8a623e #705236 #9e7850", 52, 0.45, 14),  # fallen leaves
)


@dataclass(frozen=True)
class _Traits:
    """The markings of a species: colours in [0, 1], lengths in half wing-spans."""

    ground: _Colour
    border: _Colour
    band: _Colour
    ring: _Colour
    pupil: _Colour
    tailed: bool
    bars: int
    lunule: float
    vein: float
    border_width: float
    tip: float
    band_width: float
    band_at: float
    line_at: float
    spot_inset: float
    spots: tuple[float, ...]  # radii in the forewing's five cells, then the hindwing's; 0 where there is none


@dataclass(frozen=True)
class _Pose:
    """How one specimen sits before the camera, and how it is lit."""

    angle: float
    scale: float
    centre: tuple[float, float]
    opened: tuple[float, float]
    sweep: float
    shear: float
    gain: _Colour
    slope: tuple[float, float]
    shadow: float
    wear: float


@dataclass(frozen=True)
class _Plan:
    """What all species share at one resolution: float32 fields over the two wings of one side."""

    per_unit: float
    x: _Field
    y: _Field
    fore: _Field
    margin: _Field
    vein: _Field
    shade: _Field
    alphas: tuple[_Field, _Field]
    cells: list[list[float]]
    body: Image.Image


def species_name(species: int) -> str:
    """Return the invented two-word English name of a species, unique within species 0..2047.

    Raises ValueError for a negative species.
    """
    if species < 0:
        raise ValueError(f"species must be 0 or more, got {species}")
    first, stem, ending = (words.split() for words in _NAMES)
    # An odd multiplier permutes the 2048 names, so that neighbouring species do not sound alike.
    rest, one = divmod((species * 1237 + 389) % 2048, len(first))
    return f"{first[one]} {stem[rest % len(stem)]}{ending[rest // len(stem)]}"


def draw_specimen(species: int, specimen: int, *, size: int = 128, seed: int = 0) -> _Bytes:
    """Draw one specimen as an RGB image: (size, size, 3) uint8, values 0..255.

    The same arguments always give the same image, but for a few background pixels that another version of
    Pillow may round otherwise. `seed` changes the pose, light and background of the specimens, never the
    markings of the species; `size` changes only how finely they are drawn.

    Raises ValueError for a negative species, specimen or seed, and for a size under 32.
    """
    if min(species, specimen, seed) < 0:
        raise ValueError(f"species, specimen and seed must be 0 or more, got {species}, {specimen}, {seed}")
    if size < 32:
        raise ValueError(f"size must be 32 or more, got {size}")
    rng = np.random.default_rng((seed, species, specimen))
    traits, pose, background = _individual(_traits(species), rng), _pose(rng), _background(rng)
    return _photograph(_insect(_plan(size), traits, pose, size, rng), background, pose, rng)


def draw_specimens(
    species: Iterable[int], count: int, *, first: int = 0, size: int = 128, seed: int = 0
) -> _Bytes:
    """Draw specimens first..first+count-1 of each species: (len(species), count, size, size, 3) uint8.

    Raises ValueError for a count under 1 and for what `draw_specimen` refuses.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    wanted = range(first, first + count)
    images = [draw_specimen(one, specimen, size=size, seed=seed) for one in species for specimen in wanted]
    return np.array(images, np.uint8).reshape(-1, count, size, size, 3)


@lru_cache(maxsize=4096)
def _traits(species: int) -> _Traits:
    rng = np.random.default_rng((0x5BEC1E5, species))
    palettes = (_GROUNDS, _BORDERS, _BANDS, _RINGS, _PUPILS)
    (red, green, blue), border, band, ring, pupil = (each[rng.integers(len(each))] for each in palettes)
    hue, spots = rng.uniform(-0.03, 0.03, 3).tolist(), rng.uniform(0.045, 0.08, 10)
    spots[rng.permutation(5)[rng.integers(1, 4) :]] = 0
    spots[5 + rng.permutation(5)[rng.integers(0, 5) :]] = 0
    return _Traits(
        ground=(red + hue[0], green + hue[1], blue + hue[2]),
        border=border,
        band=band,
        ring=ring,
        pupil=pupil,
        tailed=bool(rng.random() < 0.4),
        bars=int(rng.integers(4)),
        lunule=(0.0, 0.55, 0.9)[rng.integers(3)],
        vein=rng.uniform(0.15, 0.8),
        border_width=rng.uniform(0.05, 0.13),
        tip=rng.uniform(0.1, 0.42),
        band_width=rng.uniform(0.05, 0.15),
        band_at=rng.uniform(0.2, 0.4),
        line_at=rng.uniform(0.4, 0.56),
        spot_inset=rng.uniform(0.14, 0.22),
        spots=tuple(spots.tolist()),
    )


def _individual(traits: _Traits, rng: _Rng) -> _Traits:
    """Vary a species' markings by less than what sets species apart."""
    names = ("border_width", "tip", "band_width", "band_at", "line_at", "spot_inset")
    lengths = {name: getattr(traits, name) * rng.uniform(0.94, 1.06) for name in names}
    return replace(traits, **lengths, spots=tuple(spot * rng.uniform(0.92, 1.08) for spot in traits.spots))


def _pose(rng: _Rng) -> _Pose:
    near, far = rng.uniform(0.92, 1.0), rng.uniform(0.55, 1.0)
    exposure, warmth, tint = rng.uniform(0.78, 1.15), rng.uniform(-0.1, 0.1), rng.uniform(-0.03, 0.03)
    slant, toward = rng.uniform(0.05, 0.3), rng.uniform(0, 2 * math.pi)
    return _Pose(
        angle=math.radians(rng.uniform(-35, 35)),
        scale=rng.uniform(0.37, 0.46),
        centre=(rng.uniform(0.45, 0.55), rng.uniform(0.44, 0.54)),
        opened=(near, far) if rng.random() < 0.5 else (far, near),
        sweep=rng.uniform(-0.14, 0.12),
        shear=rng.uniform(-0.1, 0.1),
        gain=(exposure * (1 + warmth), exposure * (1 + tint), exposure * (1 - warmth)),
        slope=(slant * math.cos(toward), slant * math.sin(toward)),
        shadow=rng.uniform(0.3, 0.6),
        wear=rng.uniform(0, 0.3),
    )


def _smooth(points: list[tuple[float, float]], steps: int = 20) -> _Field:
    """A closed Catmull-Rom curve through the points: (len(points) * steps, 2)."""
    p = np.asarray(points)[:, None]
    t = (np.arange(steps) / steps)[:, None]
    before, after, later = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    bend, twist = before - 2.5 * p + 2 * after - later / 2, 1.5 * (p - after) + (later - before) / 2
    curve: _Field = p + t * (after - before) / 2 + t * t * bend + t * t * t * twist
    return curve.reshape(-1, 2)


def _venation(cell: tuple[tuple[float, float], ...], margin: _Field) -> tuple[_Field, list[list[float]]]:
    """Points along a wing's six veins and its discal cell, and for each of the five cells between the veins
    where it meets the margin and its direction inward: (x, y, dx, dy).
    """
    start, end = np.asarray(cell)
    along, fine = np.linspace(0, 1, 11)[:, None], np.linspace(0, 1, 60)[:, None]
    inner = start + along * (end - start)
    outer = margin[np.linspace(0, len(margin) - 1, 11).round().astype(int)]
    veins = [inner[i] + fine * (outer[i] - inner[i]) for i in range(0, 11, 2)]
    veins += [fine * start, fine * end, start + fine * (end - start)]
    inward = (inner - outer) / np.sqrt(((inner - outer) ** 2).sum(1, keepdims=True))
    return np.concatenate(veins), np.hstack([outer, inward])[1::2].tolist()


@lru_cache(maxsize=8)
def _plan(size: int) -> _Plan:
    per_unit = 0.62 * size
    wide, high = (round(extent * per_unit) for extent in _WING_EXTENT)
    x = (_WING_ORIGIN[0] + (np.arange(wide)[None, :] + 0.5) / per_unit).astype(np.float32)
    y = (_WING_ORIGIN[1] + (np.arange(high)[:, None] + 0.5) / per_unit).astype(np.float32)

    def filled(*curves: _Field) -> _Field:
        mask = Image.new("L", (wide * 4, high * 4))
        for curve in curves:
            ImageDraw.Draw(mask).polygon(((curve - _WING_ORIGIN) * per_unit * 4).ravel().tolist(), fill=255)
        return np.asarray(mask.reduce(4), np.float32) / 255

    def distance(points: _Field) -> _Field:
        nearest = np.full((high, wide), 9, np.float32)
        for px, py in points.tolist():
            np.minimum(nearest, (x - px) ** 2 + (y - py) ** 2, out=nearest)
        return np.sqrt(nearest)

    curves = fore_curve, hind_curve = _smooth(_FOREWING), _smooth(_HINDWING)
    plain, fore = filled(*curves), filled(fore_curve) >= 0.5
    margins = [c[20 * a : 20 * b] for c, (a, b) in zip(curves, (_FORE_MARGIN, _HIND_MARGIN), strict=True)]
    (fore_veins, fore_cells), (hind_veins, hind_cells) = map(_venation, (_FORE_CELL, _HIND_CELL), margins)
    to_fore = distance(fore_curve)
    rim = np.clip(1 - np.where(fore, to_fore, distance(hind_curve)) / 0.022, 0, 1)
    # The forewing shades the hindwing beneath it; wing scales are a grain that moves with the wing.
    shade = (1 - 0.5 * rim) * (1 - 0.45 * np.clip(1 - to_fore / 0.1, 0, 1) * ~fore)
    grain = np.random.default_rng(1).uniform(0.94, 1.06, (high, wide))
    # The tail lies beyond the margin and takes the border's colour.
    margin = np.where(plain > 0.5, np.where(fore, distance(margins[0]), distance(margins[1])), 0)
    return _Plan(
        per_unit=per_unit,
        x=x,
        y=y,
        fore=fore.astype(np.float32),
        margin=margin.astype(np.float32),
        vein=np.where(fore, distance(fore_veins), distance(hind_veins)),
        shade=(shade * grain).astype(np.float32),
        alphas=(plain, filled(*curves, _smooth(_TAIL))),
        cells=fore_cells + hind_cells,
        body=_body(per_unit),
    )


def _body(per_unit: float) -> Image.Image:
    """The body and antennae, alike in all species, as RGBA."""
    image = Image.new("RGBA", (round(_BODY_EXTENT[0] * per_unit * 4), round(_BODY_EXTENT[1] * per_unit * 4)))
    draw = ImageDraw.Draw(image)

    def ellipse(x: float, y: float, rx: float, ry: float, glow: float) -> None:
        box = (x - rx + 0.4, y - ry + 0.75, x + rx + 0.4, y + ry + 0.75)
        fill = (round(44 + 72 * glow), round(30 + 52 * glow), round(22 + 34 * glow))
        draw.ellipse([edge * per_unit * 4 for edge in box], fill=fill)

    for t in np.linspace(0, 1, 160).tolist():
        thick = 0.007 + 0.013 * max(0.0, 1 - abs(t - 0.96) / 0.1)
        for side in (-1, 1):
            ellipse(side * (0.02 + 0.25 * t * (0.6 + 0.4 * t)), -0.2 - 0.42 * t, thick, thick, 0)
    for y, rx, ry in ((0.28, 0.058, 0.29), (-0.18, 0.058, 0.055), (0, 0.082, 0.155)):
        for glow in np.linspace(0, 1, 12).tolist():
            left, up = 0.2 * rx * glow, 0.1 * ry * glow
            ellipse(-left, y - up, rx * (1 - 0.85 * glow), ry * (1 - 0.6 * glow), glow)
    return image.reduce(4)


def _step(field: _Field, soft: float = 0.02) -> _Field:
    """0 below zero, 1 above it, with an anti-aliased edge."""
    edge: _Field = np.clip(field * (1 / soft) + 0.5, 0, 1)
    return edge


def _wing(plan: _Plan, traits: _Traits, wear: float, rng: _Rng) -> _Field:
    """The colours of one side's wings: (3, h, w) float32."""
    x, y, margin, vein, fore, dark = plan.x, plan.y, plan.margin, plan.vein, plan.fore, traits.border
    root, apex = np.sqrt(x * x + y * y), np.sqrt((x - 0.97) ** 2 + (y + 0.66) ** 2)
    scalloped = margin + 0.45 * np.minimum(vein, 0.06)
    spots = np.full_like(margin, 9)
    for (mx, my, dx, dy), radius in zip(plan.cells, traits.spots, strict=True):
        if radius:
            cx, cy = mx + dx * traits.spot_inset, my + dy * traits.spot_inset
            np.minimum(spots, np.sqrt((x - cx) ** 2 + (y - cy) ** 2) * (1 / radius), out=spots)
    coarse = Image.fromarray(rng.uniform(0, wear, (7, 5)).astype(np.float32))
    rubbed = np.asarray(coarse.resize(margin.shape[::-1], Image.Resampling.BILINEAR))
    cell = fore * _step(np.minimum(-y - 0.42 * x, 0.9 * x + y + 0.02))
    bars = np.abs(root - 0.54)
    for bar in range(1, traits.bars):
        np.minimum(bars, np.abs(root - (0.54 - 0.12 * bar)), out=bars)

    wing = np.empty((3, *margin.shape), np.float32)
    wing[:] = np.asarray(traits.ground)[:, None, None]
    wing *= 1.12 - 0.25 * root * fore
    for colour, mask in (
        (traits.band, 0.85 * _step(traits.band_width / 2 - np.abs(scalloped - traits.band_at))),
        (dark, 0.6 * _step(0.012 - np.abs(scalloped - traits.line_at))),
        (dark, 0.75 * np.clip(1 - root * 2.5, 0, 1)),
        (dark, 0.8 * min(traits.bars, 1) * cell * _step(0.02 - bars)),
        (dark, fore * _step(traits.tip - apex, 0.12)),
        (dark, traits.vein * _step(0.008 - vein)),
        (dark, _step(traits.border_width + 0.02 - scalloped, 0.03)),
        (traits.band, traits.lunule * _step(vein - 0.03) * _step(0.014 - np.abs(margin - 0.045))),
        (traits.ring, _step(1.45 - spots, 0.3)),
        ((0.07, 0.05, 0.05), _step(1 - spots, 0.3)),
        (traits.pupil, _step(0.36 - spots, 0.3)),
        ((0.72, 0.62, 0.5), rubbed),
    ):
        wing += mask * (np.asarray(colour, np.float32)[:, None, None] - wing)
    return wing * plan.shade


def _insect(plan: _Plan, traits: _Traits, pose: _Pose, size: int, rng: _Rng) -> Image.Image:
    """The posed butterfly without its surroundings: RGBA (size, size)."""
    wing, insect = _wing(plan, traits, pose.wear, rng), Image.new("RGBA", (size, size))
    layers = [(plan.body, _BODY_ORIGIN, 1.0, 0.0)]
    for side, opened in zip((-1, 1), pose.opened, strict=True):
        # A side turned away from the camera is also turned away from the light.
        pixels = np.concatenate([wing * (0.72 + 0.28 * opened), plan.alphas[traits.tailed][None]])
        texture = Image.fromarray(np.clip(pixels * 255, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy())
        layers.insert(0, (texture, _WING_ORIGIN, side * opened, pose.sweep))
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    turned = np.array([[cos, -sin], [sin, cos]]) @ [[1, pose.shear], [0, 1]] * (pose.scale * size)
    for texture, origin, opened, sweep in layers:
        back = np.linalg.inv(turned @ [[opened, 0], [sweep, 1]]) * plan.per_unit
        offset = -np.asarray(origin) * plan.per_unit - back @ np.asarray(pose.centre) * size
        affine = tuple(np.column_stack([back, offset]).ravel().tolist())
        insect.alpha_composite(
            texture.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        )
    return insect


def _background(rng: _Rng) -> Image.Image:
    """Leaves, grass, petals or stones out of focus: RGB (64, 64), to be enlarged."""
    behind, front, length, slender, number = _SCENES[rng.integers(len(_SCENES))]
    scene = Image.new("RGB", (64, 64), behind[:7])
    _scatter(scene, behind, 30, 0.7, 14, rng)
    scene = scene.filter(ImageFilter.GaussianBlur(4)).resize((128, 128), Image.Resampling.BILINEAR)
    _scatter(scene, front, length, slender, number, rng)
    return scene.reduce(2).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.6)))


def _scatter(scene: Image.Image, palette: str, length: float, slender: float, number: int, rng: _Rng) -> None:
    """Draw leaf-like shapes, or round ones if not slender, each with a lit and a shaded half."""
    colours = np.array([ImageColor.getrgb(name) for name in palette.split()])
    px, py, turn, long, glow = rng.uniform(0, 1, (5, number, 1))
    angle, reach = rng.uniform(0, 2 * math.pi) + 2.4 * turn, length * (0.35 + 0.3 * long)
    ax, ay, px, py = np.cos(angle) * reach, np.sin(angle) * reach, px * scene.width, py * scene.height
    t = np.linspace(-1, 1, 9)
    bulge = slender * (np.sqrt(1 - t * t) if slender > 0.6 else 1 - t * t)
    base = colours[rng.integers(len(colours), size=number)] * (0.8 + 0.4 * glow)
    halves = []
    for lean, light in ((1, 1.08), (-1, 0.9)):
        outline = np.stack([px + t * ax - lean * bulge * ay, py + t * ay + lean * bulge * ax], 2)
        fills = np.clip(base * light, 0, 255).astype(int).tolist()
        halves.append(list(zip(outline.reshape(number, -1).tolist(), fills, strict=True)))
    draw = ImageDraw.Draw(scene)
    for shape in zip(*halves, strict=True):
        for half, (red, green, blue) in shape:
            draw.polygon(half, fill=(red, green, blue))


def _photograph(insect: Image.Image, scene: Image.Image, pose: _Pose, rng: _Rng) -> _Bytes:
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
