"""Which box of a frame is which box of the frame before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmdrn.watching.smoothing import Smoother, Smoothing
from hmdrn_runtime.images.preprocessing import Box

OVERLAP = 0.3
"""Least intersection over union of two boxes of one subject in successive frames."""
LOST_AFTER = 1.0
"""Seconds without a box after which a subject counts as gone."""
WHOLE = 0
"""The track of a source that is looked at whole, or in one region."""


@dataclass(eq=False)
class Track:
    """A subject that is followed.

    Attributes:
        number: 1, 2, ... in the order of appearance; `WHOLE` without boxes.
        smoother: Its label.
        box: Where it was last.
        seen: When that was, in seconds.
    """

    number: int
    smoother: Smoother
    box: Box | None
    seen: float


class Tracker:
    """Follows boxes from frame to frame by their overlap, the largest first.

    (The association of IOU tracking: Bochinski et al., AVSS 2017, without its limits on length and score.)
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._tracks: list[Track] = []
        self._number = WHOLE

    def follow(self, boxes: Sequence[Box], time: float) -> list[Track]:
        """The track of each box, in the boxes' order; new ones where none fits."""
        pairs = sorted(
            (
                (overlap(track.box, box), -track.number, -place, track)
                for track in self._tracks
                for place, box in enumerate(boxes)
                if track.box is not None
            ),
            key=lambda pair: pair[:3],
            reverse=True,
        )
        matched: dict[int, Track] = {}
        taken: set[int] = set()
        for shared, _, negative, track in pairs:
            if shared >= OVERLAP and -negative not in matched and track.number not in taken:
                matched[-negative] = track
                taken.add(track.number)
        return [self._seen(matched.get(place), box, time) for place, box in enumerate(boxes)]

    def whole(self, box: Box | None, time: float) -> Track:
        """The one track of a source that is looked at whole, or in one region."""
        if not self._tracks:
            self._tracks.append(Track(WHOLE, Smoother(self._smoothing), box, time))
        return self._tracks[0]

    def lost(self, time: float) -> tuple[Track, ...]:
        """The tracks that are gone by now; they are followed no more."""
        gone = tuple(t for t in self._tracks if t.number != WHOLE and time - t.seen > LOST_AFTER)
        self._tracks = [track for track in self._tracks if track not in gone]
        return gone

    def _seen(self, track: Track | None, box: Box, time: float) -> Track:
        if track is None:
            self._number += 1
            track = Track(self._number, Smoother(self._smoothing), box, time)
            self._tracks.append(track)
        track.box, track.seen = box, time
        return track


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0-1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return shared / (sum(areas) - shared)
