"""Scores of a motion detector on a film: visits, false visits, overlap, and names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.tracker import Tracker, compute_iou
from hmdrn_runtime.images.preprocessing import Box

MIN_VISIT_FRAMES = Smoothing().hold
"""Frames of a track that make a visit: with fewer, `watch` decides on no label."""
MIN_FALSE_IOU = 0.1
"""Overlap with a true box from which a track is not false."""


@dataclass
class MotionScore:
    """Counts over one or several films.

    Attributes:
        seconds: Length of the films.
        visits: Visits that were shown for a second or more.
        found: Those of them that had a track of `MIN_VISIT_FRAMES` frames over them.
        false_visits: Tracks of as many frames that never overlap a subject.
        overlaps: Intersection over union of each true box with the found box over it.
        present: Frames with a subject.
        names: For each way of cropping, the numbers of right names and of names.
    """

    seconds: float = 0.0
    visits: int = 0
    found: int = 0
    false_visits: int = 0
    overlaps: list[float] = field(default_factory=list)
    present: int = 0
    names: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def add_name(self, crop: str, is_right: bool) -> None:
        """Count a name."""
        self.names[crop][0] += is_right
        self.names[crop][1] += 1

    def accuracy(self, crop: str) -> float:
        """Return the share of right names in percent, NaN without names."""
        right, total = self.names[crop]
        return 100 * right / total if total else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "seconds": self.seconds,
            "visits": self.visits,
            "visits_found": self.found,
            "false_visits": self.false_visits,
            "false_visits_in_ten_minutes": round(600 * self.false_visits / max(self.seconds, 1e-9), 2),
            "mean_iou": round(float(np.mean(self.overlaps)), 3) if self.overlaps else None,
            "subject_frames_found": round(len(self.overlaps) / max(self.present, 1), 3),
            "named_crops": self.names["motion"][1],
            "accuracy": {crop: round(self.accuracy(crop), 1) for crop in self.names},
        }


class FilmScorer:
    """Scores the boxes of one film, frame by frame.

    Args:
        score: The counts to add to.
    """

    def __init__(self, score: MotionScore) -> None:
        self._score = score
        self._tracker = Tracker(Smoothing())
        self._shown: Counter[int] = Counter()
        self._covered: Counter[int] = Counter()
        self._frames: Counter[int] = Counter()
        self._best: dict[int, float] = defaultdict(float)

    def add(
        self, boxes: Sequence[Box], truth: Sequence[tuple[int, Box]], time: float
    ) -> list[tuple[int, Box, Box]]:
        """Count a frame, and return the visits whose boxes were found, with the true and the found box."""
        tracks = self._tracker.match(boxes, time)
        self._tracker.drop_lost(time)
        for track, box in zip(tracks, boxes, strict=True):
            self._frames[track.number] += 1
            overlaps = [compute_iou(true, box) for _, true in truth]
            self._best[track.number] = max([self._best[track.number], *overlaps])
        matches = []
        for visit, true in truth:
            self._shown[visit] += 1
            self._score.present += 1
            found = max(boxes, key=lambda box, true=true: compute_iou(true, box), default=None)  # type: ignore[misc]
            if found is not None and (overlap := compute_iou(true, found)) > MIN_FALSE_IOU:
                self._score.overlaps.append(overlap)
                self._covered[visit] += 1
                matches.append((visit, true, found))
        return matches

    def finish(self, seconds: float, rate: float) -> None:
        """Count the film's visits, once it has ended."""
        score = self._score
        score.seconds += seconds
        long = [visit for visit, frames in self._shown.items() if frames >= rate]
        score.visits += len(long)
        score.found += sum(self._covered[visit] >= MIN_VISIT_FRAMES for visit in long)
        score.false_visits += sum(
            frames >= MIN_VISIT_FRAMES and self._best[number] < MIN_FALSE_IOU
            for number, frames in self._frames.items()
        )
