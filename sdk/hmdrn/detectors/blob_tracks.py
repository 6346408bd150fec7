"""Regions of the foreground, followed until it is clear that they are subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hmdrn.detectors.blobs import Blob
from hmdrn.watching.tracker import compute_iou
from hmdrn_runtime.images.preprocessing import Box

CONFIRM_SECONDS = 0.4
"""Seconds for which a region must be there before it can be a subject."""
CONFIRM_FRAMES = 3
"""Frames in which it must be there."""
LOST_SECONDS = 0.6
"""Seconds without foreground after which a region is forgotten."""
MIN_IOU = 0.2
"""Least intersection over union of one region in successive frames."""
STILL_IOU = 0.7
"""Least intersection over union with an earlier place of a region that sits still."""
MIN_PRESENCE = 0.8
"""Least share of the frames since its first in which a subject is there; leaves come and go."""
MIN_NOVELTY = 0.12
"""Default least share of a subject's pixels in a color that was nowhere near before."""
STILL_SECONDS = 1.0
"""Seconds in one place after which a region that moved sits still."""
GAP_SECONDS = 0.4
"""Seconds for which a region must look like a gap to be one."""


@dataclass(eq=False)
class BlobTrack:
    """A region over several frames.

    Attributes:
        box: Its last place.
        born: Time of its first frame, in seconds.
        last_seen: Time of its last frame.
        anchor: The place that it has not left since `still_since`.
        still_since: Time since when it sits still.
        novelty: Mean share of its pixels, 0-1, in a color that was nowhere near before.
        sightings: Frames in which it was there.
        frames: Frames since its first.
        confirmed: True if it is a subject.
        gap_since: Time since when it looks like the gap that a subject has left; None if it does not.
    """

    box: Box
    born: float
    last_seen: float
    anchor: Box
    still_since: float
    novelty: float
    sightings: int = 1
    frames: int = 1
    confirmed: bool = False
    gap_since: float | None = None

    @property
    def may_be_gap(self) -> bool:
        """True if the region has not moved, or no longer does."""
        return self.still_since == self.born or self.last_seen - self.still_since >= STILL_SECONDS

    def note_gap(self, looks_like_gap: bool, time: float) -> bool:
        """Note whether the region looks like a gap in a frame, and return whether it has for long enough."""
        if not (looks_like_gap and self.may_be_gap):
            self.gap_since = None
        elif self.gap_since is None:
            self.gap_since = time
        return self.gap_since is not None and time - self.gap_since >= GAP_SECONDS


class BlobTracker:
    """Decides which regions are subjects.

    A subject brings colors of its own and is there in nearly every frame. Leaves, water and noise come and
    go in one place, and show what was beside them a moment ago.

    Args:
        measure_novelty: Returns the share of a region's pixels, 0-1, in a color that was nowhere near before
            a time in seconds, at which it was first seen.
    """

    def __init__(self, measure_novelty: Callable[[Blob, float], float]) -> None:
        self._measure_novelty = measure_novelty
        self.tracks: list[BlobTrack] = []

    def update(self, blobs: Sequence[Blob], time: float, min_novelty: float = MIN_NOVELTY) -> None:
        """Match the regions of a frame to the tracks, and forget the tracks that are lost.

        Args:
            blobs: The regions.
            time: Time of the frame, in seconds.
            min_novelty: Least mean novelty of a subject, 0-1.
        """
        free = list(self.tracks)
        for track in free:
            track.frames += 1
        for blob in blobs:
            match = max(free, key=lambda track: compute_iou(track.box, blob.box), default=None)
            if match is not None and compute_iou(match.box, blob.box) >= MIN_IOU:
                free.remove(match)
                self._advance(match, blob, time, min_novelty)
            else:
                self.tracks.append(
                    BlobTrack(blob.box, time, time, blob.box, time, self._measure_novelty(blob, time))
                )
        self.tracks = [track for track in self.tracks if time - track.last_seen <= LOST_SECONDS]

    def remove(self, tracks: Sequence[BlobTrack]) -> None:
        """Forget tracks that are not subjects after all."""
        self.tracks = [track for track in self.tracks if track not in tracks]

    def _advance(self, track: BlobTrack, blob: Blob, time: float, min_novelty: float) -> None:
        track.box, track.last_seen = blob.box, time
        if compute_iou(track.anchor, blob.box) < STILL_IOU:
            track.anchor, track.still_since = blob.box, time
        track.sightings += 1
        if track.confirmed or track.sightings < MIN_PRESENCE * track.frames:
            return
        track.novelty += (self._measure_novelty(blob, track.born) - track.novelty) / track.sightings
        old_enough = time - track.born >= CONFIRM_SECONDS and track.sightings >= CONFIRM_FRAMES
        track.confirmed = old_enough and track.novelty >= min_novelty
