"""A gallery's calibration: its threshold, temperature and background species."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.io.json_document import JsonObject
from hmdrn_runtime.open_set.background import Background


@dataclass(frozen=True)
class Calibration:
    """The open-set threshold and temperature of a gallery, stored with it.

    Attributes:
        threshold: Score from which a photo counts as known.
        temperature: Divides logits before the softmax, above 0.
        far: False-accept rate that the threshold was chosen for, 0-1.
        background: Digest of the background species that scores are relative to.
        unknown: Scores of the photos of other species that the threshold was also fitted with, descending, in
            spreads above the mean of the scores of the gallery's own photos for other species.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> calibration = hmdrn.calibrate_threshold(birds, far=0.1)
        >>> calibration.far
        0.1
    """

    threshold: float
    temperature: float
    far: float
    background: str
    unknown: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the argument of `Gallery.calibrate`: the attributes, `unknown` only if there are any."""
        values = asdict(self) | {"unknown": list(self.unknown)}
        return {name: value for name, value in values.items() if value != []}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read a gallery's stored calibration.

        Raises:
            GalleryError: It is damaged.
        """
        if not isinstance(values, Mapping):
            raise GalleryError(f"a calibration is a mapping, not {type(values).__name__}: calibrate again")
        document = JsonObject(dict(values), "the gallery's calibration", GalleryError)
        threshold, temperature, far = (
            document.get(key, float) for key in ("threshold", "temperature", "far")
        )
        unknown = document.sequence("unknown", float) if "unknown" in document.values else ()
        if not np.isfinite([threshold, temperature, far, *unknown]).all() or temperature <= 0:
            raise GalleryError("the gallery's calibration is damaged: calibrate it again")
        return cls(threshold, temperature, far, document.get("background", str), unknown)


def false_accept_rate(calibration: Mapping[str, Any] | None) -> float | None:
    """Return the rate that a gallery's stored calibration was made for; None if missing or damaged."""
    try:
        return None if calibration is None else Calibration.from_dict(calibration).far
    except GalleryError:
        return None


def unknown_scores(stored: Mapping[str, Any] | None, background: Background) -> tuple[float, ...]:
    """Return the scores of photos of other species in a stored calibration; none for another background."""
    try:
        calibration = active_calibration(stored, background)
    except GalleryError:  # damaged: the next calibration mends it
        calibration = None
    return () if calibration is None else calibration.unknown


def active_calibration(stored: Mapping[str, Any] | None, background: Background | None) -> Calibration | None:
    """Return a gallery's stored calibration if it was made with this background, else None.

    Raises:
        GalleryError: The calibration is damaged.
    """
    if stored is None or background is None:
        return None
    calibration = Calibration.from_dict(stored)
    return calibration if calibration.background == background.digest else None


def calibration_issue(stored: Mapping[str, Any] | None, background: Background | None) -> str | None:
    """Return the reason that a gallery's calibration is not applied with a background; None if it is."""
    if stored is None:
        return None
    if background is None:
        return (
            "the gallery's calibration is not applied, so no photo is reported as known or unknown: this "
            "bundle has no background species; use the one that it was calibrated with, or export "
            "with --background DATA and calibrate again"
        )
    used = Calibration.from_dict(stored).background
    if used != background.digest:
        return (
            "the gallery's calibration is not applied, so no photo is reported as known or unknown: it was "
            f"made with other background species ({used[:12]}) than this bundle's "
            f"({background.digest[:12]}); calibrate it again with this bundle"
        )
    return None
