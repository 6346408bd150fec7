"""Taking back one change of a gallery, whatever has been changed since."""

from __future__ import annotations

from dataclasses import dataclass

from hmdrn_runtime.gallery.history import Change
from hmdrn_runtime.gallery.state import GalleryState, next_state
from hmdrn_runtime.gallery.three_way_merge import merge_states


@dataclass(frozen=True)
class UndoStep:
    """A change that can be taken back.

    Attributes:
        before: The gallery before the change.
        after: The gallery after it.
        change: The change, for the history.
    """

    before: GalleryState
    after: GalleryState
    change: Change

    def __str__(self) -> str:
        return f"{self.change.what} ({self.change.label})" if self.change.label else self.change.what

    def revert(self, now: GalleryState) -> GalleryState:
        """Return a gallery without the change: photos that it added are gone, those that it removed are back.

        A three-way merge with the change's result as the common ancestor: undoing is the opposite change, and
        what others did since is kept.
        """
        merged = merge_states(self.after, now, self.before)
        what = f"undid: {self.change.what}"
        return next_state(now, merged.species, merged.calibration, what, self.change.label)
