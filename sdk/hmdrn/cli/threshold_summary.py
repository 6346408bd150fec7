"""What the commands say of a gallery's calibration."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from os import PathLike, fspath

from hmdrn_calibration.open_set.threshold_fit import Passing

USUAL = 0.05
"""The false-accept rate where none is asked for."""
SMALL = 0.5
"""Share of a gallery's own photos up to which it is told that few pass."""


def rate_text(far: float | None) -> str:
    """Whether a gallery is calibrated, and at what rate."""
    return "not calibrated" if far is None else f"calibrated at a false-accept rate of {far:g}"


def calibrate_line(gallery: str | PathLike[str], bundle: str = "BUNDLE", far: float | None = None) -> str:
    """The command that calibrates a gallery."""
    options = ["--bundle", bundle, "--far", f"{far or USUAL:g}"]
    return shlex.join(["hmdrn", "gallery", "calibrate", fspath(gallery), *options])


def passing_text(found: Passing) -> str:
    """What a calibration costs, in words."""
    known, judged = sum(found.known.values()), sum(found.judged.values())
    if not judged:
        return (
            "what that costs cannot be told: a photo is judged by the other photos of its species, and none "
            "has two (a compacted species counts as having none)"
        )
    parts = [f"of your own photos {known} of {judged} would count as known, each left out of its species"]
    if found.none:
        those = "it" if len(found.none) == 1 else "them"
        parts.append(
            f"none of {_names(found.none)}: enroll more photos of {those}, or ask for a higher --far"
        )
    if known <= SMALL * judged:
        parts.append(
            "that is a small share: many photos of your own species will be called unknown, so ask for a "
            "higher --far, or enroll more photos of each"
        )
    if found.unjudged:
        parts.append(f"not judged, having no second photo to compare with: {_names(found.unjudged)}")
    return "; ".join(parts)


def _names(labels: Iterable[str]) -> str:
    return ", ".join(labels)
