"""What a gallery is at one moment, and what a merge of two has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hmdrn_runtime.history import Change
from hmdrn_runtime.species import Species


@dataclass(frozen=True)
class State:
    """A gallery at one moment. Never changed: a change makes a new one.

    Attributes:
        generation: Number of changes made so far; equal generations of one gallery are equal states.
        species: The species by label, sorted by label.
        history: The last changes, oldest first.
        calibration: What makes probabilities honest and unknowns known; a JSON object, opaque here.
    """

    generation: int
    species: Mapping[str, Species]
    history: tuple[Change, ...] = ()
    calibration: Mapping[str, Any] | None = None

    def shots(self, label: str) -> int:
        """Number of photos of a species, 0 if there is none."""
        species = self.species.get(label)
        return 0 if species is None else species.shots


@dataclass(frozen=True)
class Written:
    """A state that is in a file, and the SHA-256 by which the file is recognised."""

    seal: str
    state: State


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Attributes:
        added: Labels that were new.
        extended: Labels that both had, and with different photos: each is one species with all of them now.
            How many photos came in, by label.
    """

    added: tuple[str, ...]
    extended: Mapping[str, int]
