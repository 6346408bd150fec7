"""Inputs of timed classifications: a JPEG photo, a camera frame, and galleries of any size."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.bundle.manifest import Network
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import ClassSum
from hmdrn_runtime.gallery.species import Species, extend_species
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimen, draw_specimens
from hmdrn_runtime.specimens.traits import name_species

PHOTO_SIZE = (500, 375)
"""Width and height of the photo, the most common ones in ImageNet."""
FRAME_SIZE = (1920, 1080)
"""Width and height of the camera frame."""
_GRAIN = 6.0
_QUALITY = 95
_DRAWN_SHOTS = 5
_DRAWN_SIZE = 128


@cache
def make_jpeg_photo() -> bytes:
    """Return a drawn specimen as a JPEG of 500 x 375 pixels, 89 KB, with colors at half resolution.

    With grain and at quality 95 it has about as many bytes a pixel as photographs. A decoder's time depends
    on bytes more than on pixels, so that a drawing without grain would decode too fast.
    """
    width, height = PHOTO_SIZE
    drawing = draw_specimen(0, 0, size=width)
    top = (width - height) // 2
    grain = np.random.default_rng(0).normal(0, _GRAIN, (height, width, 3))
    pixels = np.clip(drawing[top : top + height] + grain, 0, 255).astype(np.uint8)
    file = BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


@cache
def make_camera_frame() -> npt.NDArray[np.uint8]:
    """Return the same specimen as a camera frame: RGB uint8 (1080, 1920, 3)."""
    with PIL.Image.open(BytesIO(make_jpeg_photo())) as image:
        return np.array(image.resize(FRAME_SIZE, PIL.Image.Resampling.BILINEAR))


def enroll_drawn(recognizer: Recognizer, species: int) -> None:
    """Enroll drawn species, five photos each."""
    for number, photos in enumerate(draw_specimens(range(species), _DRAWN_SHOTS, size=_DRAWN_SIZE)):
        recognizer.enroll(name_species(number), photos)


def resize_gallery(gallery: Gallery, count: int, seed: int = 0) -> Gallery:
    """Return the first `count` species of a gallery, with invented ones if it has fewer.

    Each invented species has as many photos as the first one, drawn from the photos of all species. Its
    operator is solved from real statistics and rarely equals another one, but its neighbors are nearer than
    those of real species. A full matrix product takes as long as for real species; a search that skips
    species may not, so that its time is better measured with real ones.

    Args:
        gallery: At least one species. If all are compacted, invented species are sums of two of them.
        count: Number of species, at least 1.
        seed: Seed of the draw.
    """
    species = dict(list(gallery.species.items())[:count])
    pool = [photo for s in gallery.species.values() for photo in s.photos.values()]
    sums = [part for s in gallery.species.values() for part in s.sums]
    shots = max(1, len(next(iter(gallery.species.values())).photos))
    rng = np.random.default_rng(seed)
    for number in range(len(species), count):
        label = f"made up {number}"
        if pool:
            drawn = rng.choice(len(pool), size=min(shots, len(pool)), replace=False)
            species[label] = extend_species(None, label, [pool[i] for i in drawn])
        else:
            species[label] = Species(label, MappingProxyType({}), (_draw_sum(sums, label, rng),))
    return Gallery(gallery.network, species)


def count_operand_bytes(network: Network, species: Species) -> int:
    """Return the bytes of the graphs' operands for one class with as many photos as `species`."""
    if network.head == "ridge":
        return 4 * network.packed
    return species.shots * sum(8 * level.tokens * level.channels for level in network.levels)


def _draw_sum(sums: list[ClassSum], label: str, rng: np.random.Generator) -> ClassSum:
    first, second = (sums[i] for i in rng.integers(len(sums), size=2))
    digests = tuple(f"{label}, {i}" for i in range(len(first.digests) + len(second.digests)))
    return ClassSum(digests, first.variant, first.gram + second.gram)
