"""Regions of the foreground, followed until it is clear that they are subjects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hmdrn.detectors.blobs import Blob
from hmdrn.watching.tracker import compute_iou, measure_cover, measure_jump, measure_velocity, move_box
from hmdrn_runtime.images.preprocessing import Box

CONFIRM_SECONDS, DOUBTFUL_SECONDS = 0.4, 0.85
"""Seconds for which a region must be there to be a subject: a clearly new one, and one that may be a leaf."""
CLEAR_NOVELTY = 0.5
"""Novelty from which a region is clearly new."""
CONFIRM_FRAMES = 3
"""Frames in which it must be there."""
LOST_SECONDS = 0.6
"""Seconds without foreground after which a region is forgotten."""
MIN_IOU = 0.2
"""Least intersection over union of one subject in successive frames."""
MIN_COVER = 0.5
"""Least share of a subject's place in a region that holds it."""
STILL_IOU = 0.7
"""Least intersection over union with an earlier place of a region that sits still."""
MIN_PRESENCE = 0.8
"""Least share of the frames since its first in which a subject is there; leaves come and go."""
MIN_NOVELTY = 0.12
"""Default least share of a subject's pixels in a color that was nowhere near before."""
STILL_SECONDS = 1.0
"""Seconds in one place after which a region that moved sits still."""
USUAL_FRAMES, USUAL_QUANTILE = 30, 0.35
"""Frames whose sizes give the usual size of a subject, and their quantile: leaves enlarge some of them."""
MAX_GROWTH = 1.2
"""Growth against the usual size from which a leaf or a shadow touches the subject."""
GAP_SECONDS = 0.4
"""Seconds for which a region must look like a gap to be one."""


@dataclass(eq=False)
class BlobTrack:
    """A region over several frames.

    Attributes:
        box: Its last place, with what touches it.
        place: The last place of the subject in it.
        born: Time of its first frame, in seconds.
        last_seen: Time of its last frame.
        anchor: The place that it has not left since `still_since`.
        still_since: Time since when it sits still.
        novelty: Mean share of its pixels, 0-1, in a color that was nowhere near before.
        sightings: Frames in which it was there.
        frames: Frames since its first.
        confirmed: True if it is a subject.
        gap_since: Time since when it looks like the gap that a subject has left; None if it does not.
        velocity: Pixels a second that its middle moves, right and down.
        sizes: Its last widths and heights.
    """

    box: Box
    place: Box
    born: float
    last_seen: float
    anchor: Box
    still_since: float
    novelty: float
    sightings: int = 1
    frames: int = 1
    confirmed: bool = False
    gap_since: float | None = None
    velocity: tuple[float, float] = 0.0, 0.0
    sizes: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=USUAL_FRAMES))

    def measure_fit(self, box: Box, time: float) -> float:
        """Return how well a region continues this one, 0-1: its intersection over union with a place.

        That is the subject's last one, or its next one: a fast subject's places do not overlap. (Leaves jump,
        too, but to and fro.) An overlap with all of the last region counts, too, but least, and for a subject
        only if the region holds its place: a leaf that touches a subject is in its region, but does not take
        its track when they part.
        """
        if self.sightings == 1 and compute_iou(self.box, box) < MIN_IOU:
            return measure_jump(self.box, box, MIN_IOU)
        dx, dy = (speed * (time - self.last_seen) for speed in self.velocity)
        places = self.place, move_box(self.place, dx, dy)
        fit = max(compute_iou(place, box) for place in places)
        if self.confirmed and max(measure_cover(place, box) for place in places) < MIN_COVER:
            return fit
        return max(fit, min(MIN_IOU, compute_iou(self.box, box)))

    def note_size(self, width: float, height: float) -> tuple[float, float]:
        """Note the size of the whole subject, and return it, or the usual size if it has grown suddenly."""
        self.sizes.append((width, height))
        usual_width, usual_height = (float(side) for side in np.quantile(self.sizes, USUAL_QUANTILE, axis=0))
        if width <= MAX_GROWTH * usual_width and height <= MAX_GROWTH * usual_height:
            return width, height
        return min(width, usual_width), min(height, usual_height)

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
        locate: Returns the place of the subject in the region of a track.
    """

    def __init__(
        self,
        measure_novelty: Callable[[Blob, float], float],
        locate: Callable[[BlobTrack], Box] = lambda track: track.box,
    ) -> None:
        self._measure_novelty, self._locate = measure_novelty, locate
        self.tracks: list[BlobTrack] = []

    def update(self, blobs: Sequence[Blob], time: float, min_novelty: float = MIN_NOVELTY) -> None:
        """Match the regions of a frame to the tracks, and forget the tracks that are lost.

        Args:
            blobs: The regions.
            time: Time of the frame, in seconds.
            min_novelty: Least novelty of a subject, 0-1: the mean, and that of its last frame.
        """
        for track in self.tracks:
            track.frames += 1
        track_of = self._match(blobs, time)
        for index, blob in enumerate(blobs):
            if index in track_of:
                self._advance(track_of[index], blob, time, min_novelty)
            else:
                novelty = self._measure_novelty(blob, time)
                self.tracks.append(BlobTrack(blob.box, blob.box, time, time, blob.box, time, novelty))
        self.tracks = [track for track in self.tracks if time - track.last_seen <= LOST_SECONDS]

    def remove(self, tracks: Sequence[BlobTrack]) -> None:
        """Forget tracks that are not subjects after all."""
        self.tracks = [track for track in self.tracks if track not in tracks]

    def _match(self, blobs: Sequence[Blob], time: float) -> dict[int, BlobTrack]:
        """Return the track that each region continues, by the region's index, the best fit first."""
        pairs = sorted(
            (-fit, number, index)
            for number, track in enumerate(self.tracks)
            for index, blob in enumerate(blobs)
            if (fit := track.measure_fit(blob.box, time)) >= MIN_IOU
        )
        number_of: dict[int, int] = {}
        for _, number, index in pairs:
            if index not in number_of and number not in number_of.values():
                number_of[index] = number
        return {index: self.tracks[number] for index, number in number_of.items()}

    def _advance(self, track: BlobTrack, blob: Blob, time: float, min_novelty: float) -> None:
        elapsed = max(time - track.last_seen, 1e-3)
        track.box, track.last_seen = blob.box, time
        place = self._locate(track)
        track.velocity, track.place = measure_velocity(track.place, place, elapsed), place
        if compute_iou(track.anchor, blob.box) < STILL_IOU:
            track.anchor, track.still_since = blob.box, time
        track.sightings += 1
        if track.confirmed or track.sightings < MIN_PRESENCE * track.frames:
            return
        novelty = self._measure_novelty(blob, track.born)
        track.novelty += (novelty - track.novelty) / track.sightings
        seconds = CONFIRM_SECONDS if track.novelty >= CLEAR_NOVELTY else DOUBTFUL_SECONDS
        old_enough = time - track.born >= seconds and track.sightings >= CONFIRM_FRAMES
        # a leaf that is where a subject has gone is not new, though the mean may be
        track.confirmed = old_enough and min(novelty, track.novelty) >= min_novelty
