"""A gallery's calibration: from which score on a photo is known, and which background it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.io.json_document import JsonObject
from hmdrn_runtime.open_set.background import Background

MADE_EARLIER = (
    "the gallery was calibrated by an earlier version, which did not note with which background species: "
    "calibrate it again"
)
"""What is said of a calibration without the digest of its background; it is applied all the same."""


@dataclass(frozen=True)
class Calibration:
    """What makes a gallery's predictions honest; kept with the gallery.

    Attributes:
        threshold: Score from which a photo counts as known.
        temperature: Divides logits before the softmax, above 0.
        far: False-accept rate that the threshold was chosen for, 0-1.
        background: Digest of the background species that scores are relative to; None in galleries that an
            earlier version has calibrated.
    """

    threshold: float
    temperature: float
    far: float
    background: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What `Gallery.calibrate` keeps."""
        found = {"threshold": self.threshold, "temperature": self.temperature, "far": self.far}
        return found if self.background is None else {**found, "background": self.background}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what a gallery kept.

        Raises:
            GalleryError: It is damaged.
        """
        document = JsonObject(dict(values), "the gallery's calibration", GalleryError)
        numbers = [document.get(key, float) for key in ("threshold", "temperature", "far")]
        if not np.isfinite(numbers).all() or numbers[1] <= 0:
            raise GalleryError("the gallery's calibration is damaged: calibrate it again")
        threshold, temperature, far = numbers
        background = document.get("background", str) if "background" in values else None
        return cls(threshold, temperature, far, background)


def rate_of(kept: Mapping[str, Any] | None) -> float | None:
    """The false-accept rate that a gallery's calibration was made for; None without one, or if damaged."""
    try:
        return None if kept is None else Calibration.from_dict(kept).far
    except GalleryError:
        return None


def made_earlier(kept: Mapping[str, Any] | None) -> bool:
    """Whether a gallery's calibration is of an earlier version, which did not note the background species."""
    return rate_of(kept) is not None and kept is not None and "background" not in kept


def applied(kept: Mapping[str, Any] | None, background: Background | None) -> Calibration | None:
    """What is applied of a gallery's calibration: nothing beside other background species than its own.

    Args:
        kept: As the gallery keeps it.
        background: The bundle's.

    Raises:
        GalleryError: It is damaged.
    """
    if kept is None or background is None:
        return None
    found = Calibration.from_dict(kept)
    return found if found.background in (None, background.digest) else None


def calibration_doubt(kept: Mapping[str, Any] | None, background: Background | None) -> str | None:
    """Why a gallery's calibration is not applied beside a background, or might mislead; else None."""
    if kept is None:
        return None
    if background is None:
        return (
            "the gallery's calibration is not applied, so nothing is said to be known or unknown: this "
            "bundle has no background species; use the one that it was calibrated with, or export "
            "with --background DATA and calibrate again"
        )
    made_with = Calibration.from_dict(kept).background
    if made_with is None:
        return MADE_EARLIER
    if made_with != background.digest:
        return (
            "the gallery's calibration is not applied, so nothing is said to be known or unknown: it was "
            f"made with other background species ({made_with[:12]}) than this bundle's "
            f"({background.digest[:12]}); calibrate it again with this bundle"
        )
    return None
