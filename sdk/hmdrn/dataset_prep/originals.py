"""The data sets that `hmdrn prepare` knows."""

from __future__ import annotations

from hmdrn.dataset_prep import aircraft, cars, cub, dogs
from hmdrn.dataset_prep.index import Original

ORIGINALS: dict[str, Original] = {
    "cub": cub.ORIGINAL,
    "dogs": dogs.ORIGINAL,
    "cars": cars.ORIGINAL,
    "aircraft": aircraft.ORIGINAL,
}
"""The data sets that are known, by the command line's name."""
