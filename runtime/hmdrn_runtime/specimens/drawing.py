"""Drawing of specimens: the wings are painted, the butterfly is assembled and set in its scene."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from PIL import Image

from hmdrn_runtime.arguments import check_count
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens.anatomy import BODY_ORIGIN, WING_ORIGIN, BodyPlan, Field, make_body_plan
from hmdrn_runtime.specimens.scene import Pose, compose_photo, draw_background, draw_pose
from hmdrn_runtime.specimens.traits import Traits, draw_traits, vary_traits

MAX_SIZE = 4096
"""Most pixels of a drawing's side."""


def draw_specimen(species: int, specimen: int, *, size: int = 128, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw one specimen as an RGB image: (size, size, 3) uint8, values 0..255.

    The same arguments always give the same image, except for a few background pixels that another version of
    Pillow may round differently. `seed` changes the pose, light and background of the specimens, never the
    markings of the species; `size` changes only how finely they are drawn.

    Raises HmdrnError for a negative species, specimen or seed, and for a size outside 32 to `MAX_SIZE`.
    """
    for name, value in (("species", species), ("specimen", specimen), ("seed", seed)):
        check_count(value, name, "give 0 or more, a whole number", minimum=0)
    if check_count(size, "size", "give 32 pixels or more", minimum=32) > MAX_SIZE:
        raise HmdrnError(f"size is {size}: give at most {MAX_SIZE} pixels")
    rng = np.random.default_rng((seed, species, specimen))
    traits, pose, background = vary_traits(draw_traits(species), rng), draw_pose(rng), draw_background(rng)
    return compose_photo(_draw_insect(make_body_plan(size), traits, pose, size, rng), background, pose, rng)


def draw_specimens(
    species: Iterable[int], count: int, *, first: int = 0, size: int = 128, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Draw specimens first..first+count-1 of each species: (len(species), count, size, size, 3) uint8.

    Raises HmdrnError for a count under 1, and for arguments that `draw_specimen` refuses.
    """
    count = check_count(count, "count", "give 1 or more, a whole number")
    first = check_count(first, "first", "give 0 or more, a whole number", minimum=0)
    if isinstance(species, str | bytes) or not isinstance(species, Iterable):
        raise HmdrnError(f"species is {species!r}: give a list of numbers, 0 or more")
    specimens = range(first, first + count)
    images = [draw_specimen(s, specimen, size=size, seed=seed) for s in species for specimen in specimens]
    return np.array(images, np.uint8).reshape(-1, count, size, size, 3)


def _step(field: Field, soft: float = 0.02) -> Field:
    """Return 0 below zero and 1 above it, with an anti-aliased edge."""
    edge: Field = np.clip(field * (1 / soft) + 0.5, 0, 1)
    return edge


def _paint_wing(plan: BodyPlan, traits: Traits, wear: float, rng: Generator) -> Field:
    """Paint the wings of one side: (3, h, w) float32."""
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
    for color, mask in (
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
        wing += mask * (np.asarray(color, np.float32)[:, None, None] - wing)
    return wing * plan.shade


def _draw_insect(plan: BodyPlan, traits: Traits, pose: Pose, size: int, rng: Generator) -> Image.Image:
    """Draw the posed butterfly without its surroundings: RGBA (size, size)."""
    wing, insect = _paint_wing(plan, traits, pose.wear, rng), Image.new("RGBA", (size, size))
    layers = [(plan.body, BODY_ORIGIN, 1.0, 0.0)]
    for side, opened in zip((-1, 1), pose.opened, strict=True):
        # A wing turned away from the camera is also turned away from the light.
        pixels = np.concatenate([wing * (0.72 + 0.28 * opened), plan.alphas[traits.tailed][None]])
        texture = Image.fromarray(np.clip(pixels * 255, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy())
        layers.insert(0, (texture, WING_ORIGIN, side * opened, pose.sweep))
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    turned = np.array([[cos, -sin], [sin, cos]]) @ [[1, pose.shear], [0, 1]] * (pose.scale * size)
    for texture, origin, opened, sweep in layers:
        back = np.linalg.inv(turned @ [[opened, 0], [sweep, 1]]) * plan.per_unit
        offset = -np.asarray(origin) * plan.per_unit - back @ np.asarray(pose.center) * size
        affine = tuple(np.column_stack([back, offset]).ravel().tolist())
        insect.alpha_composite(
            texture.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        )
    return insect
