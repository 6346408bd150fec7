"""Anatomy that all species share: the outlines, veins and body of a butterfly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Field: TypeAlias = npt.NDArray[np.floating[Any]]

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
_FORE_MARGIN, _HIND_MARGIN = (5, 11), (3, 11)  # the outer margin lies between these points
WING_ORIGIN, _WING_EXTENT = (-0.02, -0.76), (1.06, 1.7)
BODY_ORIGIN, _BODY_EXTENT = (-0.4, -0.75), (0.8, 1.4)


@dataclass(frozen=True)
class BodyPlan:
    """The shared anatomy at one resolution: float32 fields over the two wings of one side."""

    per_unit: float
    x: Field
    y: Field
    fore: Field
    margin: Field
    vein: Field
    shade: Field
    alphas: tuple[Field, Field]
    cells: list[list[float]]
    body: Image.Image


@lru_cache(maxsize=8)
def make_body_plan(size: int) -> BodyPlan:
    """Compute the body plan for images of `size` pixels a side."""
    per_unit = 0.62 * size
    wide, high = (round(extent * per_unit) for extent in _WING_EXTENT)
    x = (WING_ORIGIN[0] + (np.arange(wide)[None, :] + 0.5) / per_unit).astype(np.float32)
    y = (WING_ORIGIN[1] + (np.arange(high)[:, None] + 0.5) / per_unit).astype(np.float32)

    def fill(*curves: Field) -> Field:
        mask = Image.new("L", (wide * 4, high * 4))
        for curve in curves:
            ImageDraw.Draw(mask).polygon(((curve - WING_ORIGIN) * per_unit * 4).ravel().tolist(), fill=255)
        return np.asarray(mask.reduce(4), np.float32) / 255

    def measure_distance(points: Field) -> Field:
        nearest = np.full((high, wide), 9, np.float32)
        for px, py in points.tolist():
            np.minimum(nearest, (x - px) ** 2 + (y - py) ** 2, out=nearest)
        return np.sqrt(nearest)

    curves = fore_curve, hind_curve = _smooth(_FOREWING), _smooth(_HINDWING)
    plain, fore = fill(*curves), fill(fore_curve) >= 0.5
    margins = [c[20 * a : 20 * b] for c, (a, b) in zip(curves, (_FORE_MARGIN, _HIND_MARGIN), strict=True)]
    (fore_veins, fore_cells), (hind_veins, hind_cells) = map(_draw_veins, (_FORE_CELL, _HIND_CELL), margins)
    to_fore = measure_distance(fore_curve)
    rim = np.clip(1 - np.where(fore, to_fore, measure_distance(hind_curve)) / 0.022, 0, 1)
    # The forewing shades the hindwing beneath it; wing scales are a grain that moves with the wing.
    shade = (1 - 0.5 * rim) * (1 - 0.45 * np.clip(1 - to_fore / 0.1, 0, 1) * ~fore)
    grain = np.random.default_rng(1).uniform(0.94, 1.06, (high, wide))
    # The tail lies beyond the margin and has the border's color.
    margin = np.where(
        plain > 0.5, np.where(fore, measure_distance(margins[0]), measure_distance(margins[1])), 0
    )
    return BodyPlan(
        per_unit=per_unit,
        x=x,
        y=y,
        fore=fore.astype(np.float32),
        margin=margin.astype(np.float32),
        vein=np.where(fore, measure_distance(fore_veins), measure_distance(hind_veins)),
        shade=(shade * grain).astype(np.float32),
        alphas=(plain, fill(*curves, _smooth(_TAIL))),
        cells=fore_cells + hind_cells,
        body=_draw_body(per_unit),
    )


def _smooth(points: list[tuple[float, float]], steps: int = 20) -> Field:
    """Return a closed Catmull-Rom curve through the points: (len(points) * steps, 2)."""
    p = np.asarray(points)[:, None]
    t = (np.arange(steps) / steps)[:, None]
    before, after, later = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    bend, twist = before - 2.5 * p + 2 * after - later / 2, 1.5 * (p - after) + (later - before) / 2
    curve: Field = p + t * (after - before) / 2 + t * t * bend + t * t * t * twist
    return curve.reshape(-1, 2)


def _draw_veins(cell: tuple[tuple[float, float], ...], margin: Field) -> tuple[Field, list[list[float]]]:
    """Return points along a wing's six veins and its discal cell, and for each of the five cells between the
    veins its point on the margin and its direction inward: (x, y, dx, dy).
    """
    start, end = np.asarray(cell)
    along, fine = np.linspace(0, 1, 11)[:, None], np.linspace(0, 1, 60)[:, None]
    inner = start + along * (end - start)
    outer = margin[np.linspace(0, len(margin) - 1, 11).round().astype(int)]
    veins = [inner[i] + fine * (outer[i] - inner[i]) for i in range(0, 11, 2)]
    veins += [fine * start, fine * end, start + fine * (end - start)]
    inward = (inner - outer) / np.sqrt(((inner - outer) ** 2).sum(1, keepdims=True))
    return np.concatenate(veins), np.hstack([outer, inward])[1::2].tolist()


def _draw_body(per_unit: float) -> Image.Image:
    """Draw the body and antennae, alike in all species, as RGBA."""
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
