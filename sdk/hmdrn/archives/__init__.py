"""The original archives of the few-shot papers' data sets, into zips that `open_dataset` reads."""

from __future__ import annotations

from hmdrn.archives import aircraft, cars, cub, dogs
from hmdrn.archives.contents import Original
from hmdrn.archives.preparing import SCHEMA, Choices, prepare

__all__ = ["ORIGINALS", "SCHEMA", "Choices", "prepare"]

ORIGINALS: dict[str, Original] = {
    "cub": cub.ORIGINAL,
    "dogs": dogs.ORIGINAL,
    "cars": cars.ORIGINAL,
    "aircraft": aircraft.ORIGINAL,
}
"""The data sets that are known, by the command line's name."""
