"""Three-way merge of two writers' changes to one gallery file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hmdrn_runtime.gallery.history import MERGED_FILE, make_change, merge_histories
from hmdrn_runtime.gallery.species import Species, merge_species
from hmdrn_runtime.gallery.state import GalleryState


def merge_states(base: GalleryState | None, ours: GalleryState, theirs: GalleryState) -> GalleryState:
    """Apply the changes of both sides: additions of either are kept, photos that either forgot are removed.

    Args:
        base: The common ancestor; None if there is none, and then nothing counts as forgotten.
        ours: The gallery in memory.
        theirs: The gallery in the file.

    Raises:
        GalleryError: A species was compacted on both sides with some of the same photos.
    """
    old: Mapping[str, Species] = {} if base is None else base.species
    merged: dict[str, Species] = {}
    for label in sorted({*ours.species, *theirs.species}):
        species = _merge(old.get(label), ours.species.get(label), theirs.species.get(label))
        if species is not None:
            merged[label] = species
    calibration = _merge_calibration(base, ours, theirs)
    equal = [s for s in (theirs, ours) if (merged, calibration) == (s.species, s.calibration)]
    later = max((theirs, ours), key=lambda state: state.generation)
    # Of equal states the later; of equally late ones the file's, which then need not be written again.
    if len(equal) == 2 or (equal == [later] and ours.generation != theirs.generation):
        return later
    generation = later.generation + 1
    changes = merge_histories(theirs.history, ours.history)
    history = merge_histories(changes, (make_change(generation, MERGED_FILE),))
    return GalleryState(generation, MappingProxyType(merged), history, calibration)


def _merge_calibration(
    base: GalleryState | None, ours: GalleryState, theirs: GalleryState
) -> Mapping[str, Any] | None:
    """Return the calibration of the side that changed it; if both did, ours unless we have none."""
    if base is not None and theirs.calibration == base.calibration:
        return ours.calibration
    unchanged = base is not None and ours.calibration == base.calibration
    return theirs.calibration if unchanged or ours.calibration is None else ours.calibration


def _merge(base: Species | None, ours: Species | None, theirs: Species | None) -> Species | None:
    before, here, there = (s.digests if s else frozenset[str]() for s in (base, ours, theirs))
    digests = (here & there) | (here - before) | (there - before)
    merged: Species | None = None
    for species in (ours, theirs):
        part = _restrict(species, digests) if species else None
        if part is not None:
            merged = merge_species(merged, part)
    return merged


def _restrict(species: Species, digests: frozenset[str]) -> Species | None:
    """Return a species with some of its photos; a sum, which cannot be split, stays whole."""
    photos = {digest: photo for digest, photo in species.photos.items() if digest in digests}
    sums = tuple(part for part in species.sums if not digests.isdisjoint(part.digests))
    return Species(species.label, MappingProxyType(photos), sums) if photos or sums else None
