"""Taking back one change of a gallery, whatever has been changed since."""

from __future__ import annotations

from hmdrn_runtime.gallery.history import Change
from hmdrn_runtime.gallery.state import GalleryState, next_state
from hmdrn_runtime.gallery.three_way_merge import merge_states


def revert_change(
    before: GalleryState, after: GalleryState, now: GalleryState, change: Change
) -> GalleryState:
    """Return a gallery without a change: photos that it added are removed, those that it removed are back.

    A three-way merge with the change's result as the common ancestor: undoing is the opposite change, and
    what others did since is kept.

    Args:
        before: The gallery before the change.
        after: The gallery after it.
        now: The present one.
        change: The change, for the history.
    """
    merged = merge_states(after, now, before)
    return next_state(now, merged.species, merged.calibration, f"undid: {change.what}", change.label)
