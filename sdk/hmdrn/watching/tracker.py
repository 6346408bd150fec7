"""Follow boxes from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmdrn.watching.smoothing import Smoother, Smoothing
from hmdrn_runtime.images.preprocessing import Box

MIN_IOU = 0.3
"""Least intersection over union of two boxes of one subject in successive frames."""
MAX_JUMP = 4.0
"""Most of its own sides that a fast subject moves from its first frame to its second."""
START_JUMP = 1.0
"""Most of its own sides that a subject which has been followed moves when it takes off."""
LOST_SECONDS = 1.0
"""Seconds without a box after which a subject counts as gone."""


@dataclass(eq=False)
class Track:
    """A subject that is followed.

    Attributes:
        number: 1, 2, ... in the order of appearance.
        smoother: Its label.
        box: Its last place.
        last_seen: Time of that, in seconds.
        velocity: Pixels a second that its middle moves, right and down; None after one frame.
    """

    number: int
    smoother: Smoother
    box: Box
    last_seen: float
    velocity: tuple[float, float] | None = None

    def measure_fit(self, box: Box, time: float) -> float:
        """Return how well a box continues the track, 0-1: its overlap with the last place or the next one."""
        fit = compute_iou(self.box, box)
        limit = MAX_JUMP
        if self.velocity is not None:
            limit = START_JUMP
            dx, dy = (speed * (time - self.last_seen) for speed in self.velocity)
            fit = max(fit, compute_iou(move_box(self.box, dx, dy), box))
        # An overlap goes before a jump.
        return max(fit, min(MIN_IOU, measure_jump(self.box, box, MIN_IOU, limit)))


class Tracker:
    """Follows boxes from frame to frame by their overlap, the largest first.

    A subject that is so fast that its places do not overlap is looked for where it moves on to. (The
    association of IOU tracking: Bochinski et al., AVSS 2017, without its limits on length and score.)
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._tracks: list[Track] = []
        self._count = 0

    def match(self, boxes: Sequence[Box], time: float) -> list[Track]:
        """Return the track of each box, in the boxes' order; a new one if no track overlaps enough."""
        pairs = sorted(
            (-fit, track.number, index)
            for track in self._tracks
            for index, box in enumerate(boxes)
            if (fit := track.measure_fit(box, time)) >= MIN_IOU
        )
        number_of: dict[int, int] = {}
        for _, number, index in pairs:
            if index not in number_of and number not in number_of.values():
                number_of[index] = number
        tracks = {track.number: track for track in self._tracks}
        return [self._update(tracks.get(number_of.get(i, 0)), box, time) for i, box in enumerate(boxes)]

    def drop_lost(self, time: float) -> tuple[int, ...]:
        """Stop following the tracks that are gone by now, and return their numbers."""
        lost = tuple(track.number for track in self._tracks if time - track.last_seen > LOST_SECONDS)
        self._tracks = [track for track in self._tracks if track.number not in lost]
        return lost

    def _update(self, track: Track | None, box: Box, time: float) -> Track:
        if track is None:
            self._count += 1
            track = Track(self._count, Smoother(self._smoothing), box, time)
            self._tracks.append(track)
        elif time > track.last_seen:
            track.velocity = measure_velocity(track.box, box, time - track.last_seen)
        track.box, track.last_seen = box, time
        return track


def compute_iou(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes, 0-1."""
    intersection = _intersect(first, second)
    union = _measure_area(first) + _measure_area(second) - intersection
    return intersection / union if intersection else 0.0


def measure_cover(place: Box, box: Box) -> float:
    """Return the share of a place, 0-1, that a box covers."""
    return _intersect(place, box) / _measure_area(place)


def measure_velocity(first: Box, second: Box, elapsed: float) -> tuple[float, float]:
    """Return the pixels a second, right and down, by which the middle of a box has moved."""
    x, y = ((second[i] + second[i + 2] - first[i] - first[i + 2]) / 2 for i in (0, 1))
    return x / elapsed, y / elapsed


def move_box(box: Box, right: float, down: float) -> Box:
    """Return a box at another place, some pixels to the right and down."""
    return box[0] + right, box[1] + down, box[2] + right, box[3] + down


def measure_jump(first: Box, second: Box, min_fit: float, limit: float = MAX_JUMP) -> float:
    """Return how well a box continues one that it need not overlap, 0-1.

    That is 0 if it is further away than `limit` of its sides, and at least `min_fit` if it is near and half
    of its shape is the same.
    """
    dx, dy = measure_velocity(first, second, 1.0)
    if max(abs(dx), abs(dy)) > limit * max(second[2] - second[0], second[3] - second[1]):
        return 0.0
    return 2 * min_fit * compute_iou(move_box(first, dx, dy), second)


def _intersect(first: Box, second: Box) -> float:
    """Return the area that two boxes share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)


def _measure_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
