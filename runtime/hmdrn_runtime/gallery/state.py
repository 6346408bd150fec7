"""What a gallery is at one moment, what comes of it by a change, and what a merge of two has done."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hmdrn_runtime.gallery.history import KEPT, Change, change_now
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species, with_photos


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


def added(state: State, label: str, photos: Iterable[PhotoStatistics]) -> State:
    """A gallery's state with photos added to a species; the state itself if it has them all.

    Raises:
        EnrollmentError: A bad label, or no photo at all.
    """
    label = clean_label(label)
    old = state.species.get(label)
    changed = with_photos(old, label, photos)
    if changed == old:
        return state
    # In its place, for to sort thousands takes longer than to solve one; and as two lists, for pairs of them
    # would be so many objects that Python looks for garbage.
    labels, species = list(state.species), list(state.species.values())
    if old is None:
        place = bisect_left(labels, label)
        labels.insert(place, label)
        species.insert(place, changed)
    else:
        species[labels.index(label)] = changed
    ordered = MappingProxyType(dict(zip(labels, species, strict=True)))
    what = f"added {_photos(changed.shots - (old.shots if old else 0))}"
    return following(state, ordered, state.calibration, what, label)


def following(
    old: State,
    species: Mapping[str, Species],
    calibration: Mapping[str, Any] | None,
    what: str,
    label: str | None,
) -> State:
    """The state after a change.

    Args:
        old: The state before.
        species: By label, sorted by label.
        calibration: As in `State`.
        what: What was done, for the history.
        label: The species that it was done to, if one.
    """
    generation = old.generation + 1
    history = (*old.history, change_now(generation, what, label))[-KEPT:]
    return State(generation, species, history, calibration)


def in_order(species: Mapping[str, Species]) -> Mapping[str, Species]:
    """Species by label, sorted by label, as a mapping that cannot be changed."""
    labels = sorted(species)
    return MappingProxyType(dict(zip(labels, map(species.__getitem__, labels), strict=True)))


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"
