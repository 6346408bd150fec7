"""Two writers of one gallery's file: what both have done to it since they were last of one mind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hmdrn_runtime.gallery.gallery import State
from hmdrn_runtime.gallery.history import TOOK_IN, change_now, together
from hmdrn_runtime.gallery.species import Species, joined


def reconciled(base: State | None, ours: State, theirs: State) -> State:
    """The state with the changes of both: what either has added is there, what either has forgotten is not.

    Args:
        base: What both started from; None if they never met, and then nothing counts as forgotten.
        ours: The gallery in memory.
        theirs: The gallery in the file.

    Raises:
        GalleryError: A species was compacted on both sides with some of the same photos.
    """
    old: Mapping[str, Species] = {} if base is None else base.species
    found: dict[str, Species] = {}
    for label in sorted({*ours.species, *theirs.species}):
        species = _species(old.get(label), ours.species.get(label), theirs.species.get(label))
        if species is not None:
            found[label] = species
    calibration = _calibration(base, ours, theirs)
    same = [one for one in (theirs, ours) if (found, calibration) == (one.species, one.calibration)]
    later = max((theirs, ours), key=lambda one: one.generation)
    # Of equal states the later; of equally late ones the file's, which then need not be written again.
    if len(same) == 2 or (same == [later] and ours.generation != theirs.generation):
        return later
    generation = max(ours.generation, theirs.generation) + 1
    history = together(theirs.history, ours.history)
    change = change_now(generation, TOOK_IN)
    return State(generation, MappingProxyType(found), together(history, (change,)), calibration)


def _calibration(base: State | None, ours: State, theirs: State) -> Mapping[str, Any] | None:
    """That of the one who has changed it; of both ours, unless we have none."""
    if base is not None and theirs.calibration == base.calibration:
        return ours.calibration
    untouched = base is not None and ours.calibration == base.calibration
    return theirs.calibration if untouched or ours.calibration is None else ours.calibration


def _species(base: Species | None, ours: Species | None, theirs: Species | None) -> Species | None:
    before = base.digests if base else frozenset[str]()
    here = ours.digests if ours else frozenset[str]()
    there = theirs.digests if theirs else frozenset[str]()
    kept = (here & there) | (here - before) | (there - before)
    species: Species | None = None
    for one in (ours, theirs):
        part = _only(one, kept) if one else None
        if part is not None:
            species = joined(species, part)
    return species


def _only(species: Species, digests: frozenset[str]) -> Species | None:
    """A species with some of its photos; a sum, which cannot be taken apart, stays whole."""
    photos = {digest: photo for digest, photo in species.photos.items() if digest in digests}
    sums = tuple(part for part in species.sums if not digests.isdisjoint(part.digests))
    return Species(species.label, MappingProxyType(photos), sums) if photos or sums else None
