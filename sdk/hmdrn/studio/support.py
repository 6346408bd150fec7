"""The enrolled photos that a name rests on most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.recognizer import Recognizer

MAX_WEIGHED = 100
"""Photos of a species that are weighed, those enrolled last: each takes a solve."""


@dataclass(frozen=True)
class PhotoWeight:
    """An enrolled photo with its weight in a name.

    Attributes:
        photo: The enrolled photo.
        log_odds: Fall of the species' log-odds without this photo; below 0 if they rise.
        is_same: Whether it is the named photo itself.
    """

    photo: PhotoStatistics
    log_odds: float
    is_same: bool


def weigh_photos(
    recognizer: Recognizer, pixels: npt.NDArray[np.uint8], species: Species, digest: str = ""
) -> Sequence[PhotoWeight]:
    """Weigh the photos of a species by what a photo's match with it loses without each of them.

    Ridge and attention alike: the species is made anew without the photo, and its logit compared with that of
    the whole species. A weight is no share: copies of one photo stand in for each other.

    Args:
        recognizer: Compares the photos.
        pixels: The named photo as the network's input, uint8 (side, side, 3).
        species: The species, of the recognizer's gallery.
        digest: Digest of the enrolled photo that the named one is a thumbnail of; empty if it is none.

    Returns:
        The weights, the heaviest first; none for a species of one photo, or of sums alone.
    """
    if species.shots < 2:
        return []
    matcher = recognizer.matcher
    (query,) = matcher.compute_statistics(pixels[None])
    photos = sorted(species.photos.values(), key=lambda photo: photo.record.enrolled or "")[-MAX_WEIGHED:]
    rest = [
        Species(species.label, MappingProxyType(_without(species, photo)), species.sums) for photo in photos
    ]
    (logits,) = matcher.compare([query], {query.digest: pixels}, [species, *rest]).astype(np.float64)
    calibration = recognizer.solved_gallery.current().calibration
    temperature = 1.0 if calibration is None else calibration.temperature
    losses = (logits[0] - logits[1:]) / temperature
    weights = [
        PhotoWeight(photo, float(loss), photo.digest in (query.digest, digest))
        for photo, loss in zip(photos, losses, strict=True)
    ]
    return sorted(weights, key=lambda weight: -weight.log_odds)


def _without(species: Species, photo: PhotoStatistics) -> dict[str, PhotoStatistics]:
    return {digest: other for digest, other in species.photos.items() if other is not photo}
