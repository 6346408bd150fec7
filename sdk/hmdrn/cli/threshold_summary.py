"""Texts about a gallery's calibration."""

from __future__ import annotations

import shlex
from os import PathLike, fspath

from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport

DEFAULT_RATE = 0.05
_SMALL_SHARE = 0.5
"""Share of a gallery's own photos up to which a text says that few of them pass."""


def describe_rate(rate: float | None) -> str:
    """Return "calibrated at ...", or "not calibrated" for None."""
    return "not calibrated" if rate is None else f"calibrated at a false-accept rate of {rate:g}"


def calibrate_command(gallery: str | PathLike[str], bundle: str = "BUNDLE", rate: float | None = None) -> str:
    """Return the shell command that calibrates a gallery."""
    options = ["--bundle", bundle, "--false-accept-rate", f"{rate or DEFAULT_RATE:g}"]
    return shlex.join(["hmdrn", "gallery", "calibrate", fspath(gallery), *options])


def describe_passing(acceptance: AcceptanceReport) -> str:
    """Return how many of a gallery's own photos pass its calibration, and advice where few do."""
    known, judged = sum(acceptance.known.values()), sum(acceptance.judged.values())
    if not judged:
        return (
            "its cost is unknown: a photo is judged by the other photos of its species, and no species has "
            "two (a compacted species counts as having none)"
        )
    parts = [f"of your own photos {known} of {judged} would count as known, each left out of its species"]
    if acceptance.rejected_species:
        labels = ", ".join(acceptance.rejected_species)
        pronoun = "it" if len(acceptance.rejected_species) == 1 else "them"
        parts.append(
            f"none of {labels}: enroll more photos of {pronoun}, or ask for a higher --false-accept-rate"
        )
    if known <= _SMALL_SHARE * judged:
        parts.append(
            "that is a small share: many photos of your own species will be called unknown, so ask for a "
            "higher --false-accept-rate, or enroll more photos of each"
        )
    if acceptance.unjudged_species:
        labels = ", ".join(acceptance.unjudged_species)
        parts.append(f"not judged, for want of a second photo to compare with: {labels}")
    return "; ".join(parts)
