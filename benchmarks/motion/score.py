"""Scores of a motion detector on a film: visits, false visits, overlap, and names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.tracker import Tracker, compute_iou
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.images.preprocessing import Box

MIN_VISIT_FRAMES = Smoothing().hold
"""Frames of a track that make a visit: with fewer, `watch` decides on no label."""
MIN_FALSE_IOU = 0.1
"""Overlap with a true box from which a track is not false."""
CROPS = "motion", "true boxes", "whole frame"
"""Ways of cropping that are compared."""


@dataclass
class VisitNames:
    """Names of one visit, for each way of cropping.

    Attributes:
        crops: Number of named frames.
        right: Frames with the right name.
        evidence: Sum of the species' probabilities over the frames.
        label: The right name.
    """

    label: str
    crops: int = 0
    right: Counter[str] = field(default_factory=Counter)
    evidence: dict[str, Counter[str]] = field(default_factory=lambda: {crop: Counter() for crop in CROPS})

    def add(self, predictions: Mapping[str, Prediction]) -> None:
        """Count the predictions for one frame, by the way of cropping."""
        self.crops += 1
        for crop, prediction in predictions.items():
            self.right[crop] += prediction.label == self.label
            for match in prediction.ranking:
                self.evidence[crop][match.label] += match.probability  # type: ignore[assignment]

    def is_right(self, crop: str) -> bool:
        """Return whether the name by all frames together is right."""
        return self.evidence[crop].most_common(1)[0][0] == self.label


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
        names: Names of each visit that was named.
    """

    seconds: float = 0.0
    visits: int = 0
    found: int = 0
    false_visits: int = 0
    overlaps: list[float] = field(default_factory=list)
    present: int = 0
    names: list[VisitNames] = field(default_factory=list)

    def accuracy(self, crop: str) -> float:
        """Return the share of right names of frames in percent, NaN without names."""
        crops = sum(visit.crops for visit in self.names)
        return 100 * sum(visit.right[crop] for visit in self.names) / crops if crops else float("nan")

    def visit_accuracy(self, crop: str) -> float:
        """Return the share of right names of visits in percent, NaN without names."""
        right = [visit.is_right(crop) for visit in self.names]
        return 100 * sum(right) / len(right) if right else float("nan")

    def difference(self) -> tuple[float, float]:
        """Return the points by which motion boxes name frames better than true boxes, and twice its error.

        The error is that of a mean over visits: the frames of one are alike.
        """
        crops = np.array([visit.crops for visit in self.names])
        gains = np.array([visit.right["motion"] - visit.right["true boxes"] for visit in self.names])
        mean = gains.sum() / max(crops.sum(), 1)
        error = np.sqrt(((gains - mean * crops) ** 2).sum()) / max(crops.sum(), 1)
        return 100 * float(mean), 200 * float(error)

    def visit_difference(self) -> tuple[float, float]:
        """Return the points by which motion boxes name visits better than true boxes, and twice its error."""
        gains = np.array([visit.is_right("motion") - visit.is_right("true boxes") for visit in self.names])
        count = max(len(gains), 1)
        mean = gains.sum() / count
        return 100 * float(mean), 200 * float(np.sqrt(((gains - mean) ** 2).sum()) / count)

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
            "named_crops": sum(visit.crops for visit in self.names),
            "named_visits": len(self.names),
            "accuracy": {crop: round(self.accuracy(crop), 1) for crop in CROPS} if self.names else {},
            "accuracy_of_visits": {crop: round(self.visit_accuracy(crop), 1) for crop in CROPS}
            if self.names
            else {},
            "motion_less_true_boxes": [round(value, 2) for value in self.difference()],
            "visits_motion_less_true_boxes": [round(value, 2) for value in self.visit_difference()],
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
        self._covered: Counter[tuple[int, int]] = Counter()
        """Frames of a visit that a track covers, by the numbers of both."""
        self._frames: Counter[int] = Counter()
        self._best: dict[int, float] = defaultdict(float)
        self._names: dict[int, VisitNames] = {}

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
            overlaps = [compute_iou(true, box) for box in boxes]
            if max(overlaps, default=0.0) > MIN_FALSE_IOU:
                best = int(np.argmax(overlaps))
                self._score.overlaps.append(overlaps[best])
                self._covered[visit, tracks[best].number] += 1
                matches.append((visit, true, boxes[best]))
        return matches

    def add_names(self, visit: int, label: str, predictions: Mapping[str, Prediction]) -> None:
        """Count the predictions for one frame of a visit, by the way of cropping."""
        self._names.setdefault(visit, VisitNames(label)).add(predictions)

    def finish(self, seconds: float, rate: float) -> None:
        """Count the film's visits, once it has ended."""
        score = self._score
        score.seconds += seconds
        score.names += self._names.values()
        long = [visit for visit, frames in self._shown.items() if frames >= rate]
        score.visits += len(long)
        found = {visit for (visit, _), frames in self._covered.items() if frames >= MIN_VISIT_FRAMES}
        score.found += len(found.intersection(long))
        score.false_visits += sum(
            frames >= MIN_VISIT_FRAMES and self._best[number] < MIN_FALSE_IOU
            for number, frames in self._frames.items()
        )
