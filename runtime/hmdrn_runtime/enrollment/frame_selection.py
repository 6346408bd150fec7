"""Choosing what to enroll from a live camera: the few frames that add most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.enrollment.leave_one_out import leave_one_out, without_each
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species, with_photos
from hmdrn_runtime.images.preprocessing import digest
from hmdrn_runtime.images.quality import (
    PhotoSource,
    PreparedPhoto,
    is_near_duplicate,
    measure_quality,
    prepare_photo,
)

if TYPE_CHECKING:
    from hmdrn_runtime.recognizer import Recognizer

SHOTS, PATIENCE, UNFIT = 5, 15, 150
"""Frames to keep at most, and after how many in a row it ends: fit ones that add nothing, and unfit ones."""


def choose_frames(
    recognizer: Recognizer,
    label: str,
    frames: Iterable[PhotoSource],
    shots: int = SHOTS,
    patience: int = PATIENCE,
    unfit: int = UNFIT,
) -> list[PreparedPhoto]:
    """Keep the frames whose pose or light the photos known before do not explain.

    A frame that is blurred or badly lit is unfit, and passed over. One that the photos known so far (those
    that the species has, and the frames kept) explain worse than they explain each other (leave-one-out) adds
    something, and is kept; a repetition adds nothing. It ends with `shots` frames; after `patience` fit
    frames in a row that add nothing: the class is then good enough; or after `unfit` unfit frames in a row:
    nobody holds anything into the light. So it ends however long the source goes on.

    Args:
        recognizer: Whose species `label` is to be extended; its gallery is left as it is.
        label: The species.
        frames: Read one by one, and no further than needed. A camera's had better be some tenths of a second
            apart: of a faster one, `patience` frames are over before the animal has turned.
        shots: Frames to keep at most, at least 1.
        patience: Fit frames in a row that add nothing, at least 1.
        unfit: Unfit frames in a row, at least 1; 150 are 5 s of 30 frames/s.

    Returns:
        The frames, in the order in which they came; empty if none adds to what the species has.

    Raises:
        ImageError: A frame cannot be used.
        EnrollmentError: A bad label, a number below 1, no fit frame, or frames that cannot be solved.
    """
    for name, value in (("shots", shots), ("patience", patience), ("unfit", unfit)):
        if value < 1:
            raise EnrollmentError(f"{name} is {value}: it must be at least 1")
    label = clean_label(label)
    mode = recognizer.bundle.manifest.input.preprocessing
    known = _Known(recognizer, label)
    kept: list[PreparedPhoto] = []
    idle = bad = fit = 0
    for number, frame in enumerate(frames, 1):
        one = prepare_photo(frame, mode, f"frame {number}")
        if measure_quality(one).doubts:
            bad += 1
        elif known.adds(one):
            kept.append(one)
            idle, bad, fit = 0, 0, fit + 1
        else:
            idle, bad, fit = idle + 1, 0, fit + 1
        if len(kept) >= shots or idle >= patience or bad >= unfit:
            break
    if not fit:
        raise EnrollmentError(f"no frame for {label!r} was sharp and well lit: hold still, add light")
    return kept


class _Known:
    """What is known of a species: the photos that it has, and the frames kept so far."""

    def __init__(self, recognizer: Recognizer, label: str) -> None:
        self._recognizer, self._label = recognizer, label
        self._species: Species | None = recognizer.gallery.species.get(label)
        photos: Mapping[str, PhotoStatistics] = {} if self._species is None else self._species.photos
        self._pixels: dict[str, npt.NDArray[np.uint8]] = {
            key: np.frombuffer(photo.thumbnail, np.uint8).reshape(84, 84, 3)
            for key, photo in photos.items()
            if photo.thumbnail is not None
        }

    def adds(self, one: PreparedPhoto) -> bool:
        """Whether a frame adds something; it is known from then on."""
        species, key = self._species, digest(one.pixels)
        if species is not None and key in species.digests:
            return False
        if any(is_near_duplicate(one.pixels, other) for other in self._pixels.values()):
            return False
        (statistics,) = self._recognizer.photo_statistics(one.pixels[None])
        pixels = {**self._pixels, key: one.pixels}
        if species is not None and not self._differs(species, statistics, pixels):
            return False
        self._species, self._pixels = with_photos(species, self._label, [statistics]), pixels
        return True

    def _differs(
        self,
        species: Species,
        statistics: PhotoStatistics,
        pixels: Mapping[str, npt.NDArray[np.uint8]],
    ) -> bool:
        """Whether the photos known so far explain one worse than they explain each other."""
        matcher = self._recognizer.matcher
        among = leave_one_out(matcher, species, pixels)
        if not among:
            return True
        # By as many photos as each of them is explained by, or every frame would look familiar.
        logits = matcher.compare([statistics], pixels, without_each(species))
        return float(logits.mean()) < sum(among.values()) / len(among)
