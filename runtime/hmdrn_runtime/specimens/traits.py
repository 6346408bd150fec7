"""Names and markings of species, and the variation between specimens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.random import Generator

Color: TypeAlias = tuple[float, float, float]

_NAMES = (
    "Ringed Alpine Marsh Meadow Coastal Highland Woodland River Common Lesser Greater Northern Southern "
    "Eastern Western Evening Morning Harvest Painted Velvet Gilded Dappled Island Valley Heath Moorland "
    "Orchard Hermit Wandering Royal Lowland Twilight",
    "Amber Copper Ember Fern Umber Russet Thistle Sorrel Bramble Tawny Cinder Saffron Hazel Clover Acorn "
    "Rowan",
    "wing brow ling glider",
)

# Few and similar colors, so that color alone does not identify a species.
_GROUNDS = ((0.85, 0.5, 0.17), (0.8, 0.43, 0.15), (0.74, 0.38, 0.17), (0.84, 0.56, 0.23))
_BORDERS = ((0.17, 0.1, 0.07), (0.27, 0.14, 0.07), (0.15, 0.13, 0.17), (0.36, 0.18, 0.08))
_BANDS = ((0.96, 0.85, 0.6), (0.95, 0.75, 0.42), (0.97, 0.9, 0.76))
_RINGS = ((0.97, 0.84, 0.45), (0.98, 0.93, 0.78), (0.93, 0.66, 0.25))
_PUPILS = ((0.97, 0.97, 0.95), (0.62, 0.76, 0.95))


@dataclass(frozen=True)
class Traits:
    """The markings of a species: colors in [0, 1], lengths in half wing-spans."""

    ground: Color
    border: Color
    band: Color
    ring: Color
    pupil: Color
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
    spots: tuple[float, ...]  # radii in the forewing's five cells, then the hindwing's; 0 without a spot


def name_species(species: int) -> str:
    """Return an invented two-word English name, unique for 0 <= species < 2048; ValueError if negative."""
    if species < 0:
        raise ValueError(f"species must be 0 or more, got {species}")
    first, stem, ending = (words.split() for words in _NAMES)
    # An odd multiplier permutes the 2048 names, so that neighboring species do not sound alike.
    rest, index = divmod((species * 1237 + 389) % 2048, len(first))
    return f"{first[index]} {stem[rest % len(stem)]}{ending[rest // len(stem)]}"


@lru_cache(maxsize=4096)
def draw_traits(species: int) -> Traits:
    """Draw the markings of a species, the same every time."""
    rng = np.random.default_rng((0x5BEC1E5, species))
    palettes = (_GROUNDS, _BORDERS, _BANDS, _RINGS, _PUPILS)
    (red, green, blue), border, band, ring, pupil = (
        palette[rng.integers(len(palette))] for palette in palettes
    )
    hue, spots = rng.uniform(-0.03, 0.03, 3).tolist(), rng.uniform(0.045, 0.08, 10)
    spots[rng.permutation(5)[rng.integers(1, 4) :]] = 0
    spots[5 + rng.permutation(5)[rng.integers(0, 5) :]] = 0
    return Traits(
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


def vary_traits(traits: Traits, rng: Generator) -> Traits:
    """Vary a species' markings by less than the difference between species."""
    names = ("border_width", "tip", "band_width", "band_at", "line_at", "spot_inset")
    lengths = {name: getattr(traits, name) * rng.uniform(0.94, 1.06) for name in names}
    return replace(traits, **lengths, spots=tuple(spot * rng.uniform(0.92, 1.08) for spot in traits.spots))
