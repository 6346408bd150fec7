"""Selection of the few frames of a live camera that are worth enrolling."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_count
from hmdrn_runtime.enrollment.leave_one_out import leave_one_out, leave_out_group
from hmdrn_runtime.enrollment.photo_groups import group_photos
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species, extend_species
from hmdrn_runtime.images.preprocessing import Preprocessing, hash_pixels
from hmdrn_runtime.images.quality import PhotoSource, PreparedPhoto, measure_quality, prepare_photo
from hmdrn_runtime.matching.base import Matcher

SHOTS, PATIENCE, UNFIT = 5, 15, 150
"""Most frames to keep; fit frames in a row without a new one, and unfit frames in a row, that end it."""


def choose_frames(
    matcher: Matcher,
    preprocessing: Preprocessing,
    label: str,
    species: Species | None,
    frames: Iterable[PhotoSource],
    shots: int = SHOTS,
    patience: int = PATIENCE,
    unfit: int = UNFIT,
) -> list[PreparedPhoto]:
    """Select the frames whose pose or light is not explained by the known photos.

    A frame that is blurred or badly lit is unfit, and skipped. A fit frame is selected if the known photos
    (the species' own and the frames selected so far) explain it worse than they explain each other
    (leave-one-out), and if it does not count as one with any of them. Selection ends after `shots` frames;
    after `patience` fit frames in a row that add nothing, because the class is then good enough; or after
    `unfit` unfit frames in a row, because nothing is in view. It ends however long the source is.

    Args:
        matcher: Compares frames with the species.
        preprocessing: The bundle's preprocessing.
        label: The species' name.
        species: The species to be extended; None for a new one.
        frames: Read one by one, and no further than needed. Frames should be some tenths of a second apart:
            with a faster camera, `patience` frames pass before the animal has turned.
        shots: Most frames to select, at least 1.
        patience: Fit frames in a row that add nothing, at least 1.
        unfit: Unfit frames in a row, at least 1; 150 are 5 s of 30 frames/s.

    Returns:
        The frames, in their order; empty if none adds to the species.

    Raises:
        ImageError: A frame cannot be used.
        EnrollmentError: A number below 1, no fit frame, or frames that cannot be solved.
    """
    for name, value in (("shots", shots), ("patience", patience), ("unfit", unfit)):
        check_count(value, name, "it must be at least 1, a whole number", EnrollmentError)
    if isinstance(frames, str | bytes) or not isinstance(frames, Iterable):
        raise EnrollmentError(f"frames is a {type(frames).__name__}: pass an iterable of photos")
    known = _KnownPhotos(matcher, label, species)
    selected: list[PreparedPhoto] = []
    idle = bad = fit = 0
    for number, frame in enumerate(frames, 1):
        photo = prepare_photo(frame, preprocessing, f"frame {number}")
        if measure_quality(photo).issues:
            bad += 1
        else:
            bad, fit = 0, fit + 1
            if known.add(photo):
                selected.append(photo)
                idle = 0
            else:
                idle += 1
        if len(selected) >= shots or idle >= patience or bad >= unfit:
            break
    if not fit:
        raise EnrollmentError(f"no frame for {label!r} was sharp and well lit: hold still, add light")
    return selected


class _KnownPhotos:
    """The photos of a species, and the frames selected so far."""

    def __init__(self, matcher: Matcher, label: str, species: Species | None) -> None:
        self._matcher, self._label, self._species = matcher, label, species
        self._pixels = {
            key: photo.pixels
            for key, photo in (species.photos if species else {}).items()
            if photo.pixels is not None
        }

    def add(self, photo: PreparedPhoto) -> bool:
        """Add a frame if it is not a repetition; returns whether it was added."""
        species, key = self._species, hash_pixels(photo.pixels)
        if species is not None and key in species.digests:
            return False
        (statistics,) = self._matcher.compute_statistics(photo.pixels[None])
        pixels = {**self._pixels, key: photo.pixels}
        if species is not None and self._explains(species, statistics, pixels):
            return False
        self._species, self._pixels = extend_species(species, self._label, [statistics]), pixels
        return True

    def _explains(
        self, species: Species, statistics: PhotoStatistics, pixels: dict[str, npt.NDArray[np.uint8]]
    ) -> bool:
        """Return true if a photo is like a known one, or explained as well as they explain each other."""
        *groups, group = group_photos(self._matcher.network, [*species.photos.values(), statistics])
        if group in groups:
            return True
        among = leave_one_out(self._matcher, species, pixels)
        if not among:
            return False
        # With as many photos as explain each of them, or every frame would look familiar.
        rest = [leave_out_group(species, groups, group) for group in sorted(set(groups))]
        logits = self._matcher.compare([statistics], pixels, rest)
        return float(logits.mean()) >= sum(among.values()) / len(among)
