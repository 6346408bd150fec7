"""What is classified while it is timed: a photograph's JPEG, a camera's frame, and galleries of any size."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import ClassSum, PhotoStatistics
from hmdrn_runtime.gallery.species import Species, with_photos
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimen, draw_specimens
from hmdrn_runtime.specimens.traits import species_name

PHOTO_SIZE = (500, 375)
"""Width and height of the photograph, those of most of ImageNet's."""
FRAME_SIZE = (1920, 1080)
"""Width and height of the camera's frame."""
_GRAIN = 6.0
_QUALITY = 95
_DRAWN_SHOTS = 5
_DRAWN_SIZE = 128


@cache
def jpeg_photo() -> bytes:
    """A drawn specimen as a JPEG of 500 x 375 pixels, 89 KB, in colours at half resolution.

    With grain and at quality 95 it takes about as many bytes a pixel as photographs do: what a decoder is
    busy with is bytes more than pixels, and a drawing without grain would flatter it.
    """
    width, height = PHOTO_SIZE
    drawn = draw_specimen(0, 0, size=width)
    top = (width - height) // 2
    grain = np.random.default_rng(0).normal(0, _GRAIN, (height, width, 3))
    pixels = np.clip(drawn[top : top + height] + grain, 0, 255).astype(np.uint8)
    file = BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


@cache
def camera_frame() -> npt.NDArray[np.uint8]:
    """The same as a frame of a camera: RGB uint8 (1080, 1920, 3)."""
    with PIL.Image.open(BytesIO(jpeg_photo())) as image:
        return np.array(image.resize(FRAME_SIZE, PIL.Image.Resampling.BILINEAR))


def enroll_drawn(recognizer: Recognizer, species: int) -> None:
    """Enroll drawn species, five photos each."""
    for number, photos in enumerate(draw_specimens(range(species), _DRAWN_SHOTS, size=_DRAWN_SIZE)):
        recognizer.enroll(species_name(number), photos)


def gallery_of(gallery: Gallery, count: int, seed: int = 0) -> Gallery:
    """A gallery of `count` species from the photos of one that has fewer, or more.

    Of more, the first are taken. What is missing is made up: every further species has as many photos as the
    first one, drawn from those of all species together. Its operator is solved from real statistics and is
    hardly ever another's, but its neighbours are nearer than those of real species. A full product takes as
    long for these as for any; a search that rules species out would take longer or shorter, so that its time
    is better measured with real species.

    Args:
        gallery: At least one species. Where all are compacted, further ones are sums of two of theirs.
        count: Number of species, at least 1.
        seed: Which photos are drawn.
    """
    species = dict(list(gallery.species.items())[:count])
    pool = [photo for s in gallery.species.values() for photo in s.photos.values()]
    sums = [part for s in gallery.species.values() for part in s.sums]
    shots = max(1, len(next(iter(gallery.species.values())).photos))
    rng = np.random.default_rng(seed)
    for number in range(len(species), count):
        label = f"made up {number}"
        if pool:
            species[label] = with_photos(None, label, _some(pool, shots, rng))
        else:
            species[label] = Species(label, MappingProxyType({}), (_mixed(sums, label, rng),))
    return Gallery(gallery.network, species)


def operand_bytes(network: Network, species: Species) -> int:
    """Bytes that the graphs take for one class with as many photos as `species` has."""
    if network.head == "ridge":
        return 4 * network.packed
    return species.shots * sum(8 * level.tokens * level.channels for level in network.levels)


def _mixed(sums: list[ClassSum], label: str, rng: np.random.Generator) -> ClassSum:
    one, other = (sums[i] for i in rng.integers(len(sums), size=2))
    photos = len(one.digests) + len(other.digests)
    return ClassSum(tuple(f"{label}, {i}" for i in range(photos)), one.variant, one.gram + other.gram)


def _some(pool: list[PhotoStatistics], count: int, rng: np.random.Generator) -> Iterable[PhotoStatistics]:
    chosen: Any = rng.choice(len(pool), size=min(count, len(pool)), replace=False)
    return (pool[i] for i in chosen)
