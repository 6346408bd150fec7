"""What watching answers, frame by frame, and what it says of its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hmdrn.watching.frames import Frame
from hmdrn.watching.smoothing import Smoothed
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.prediction import Prediction


@dataclass(frozen=True)
class Sighting:
    """One subject in one frame.

    Attributes:
        track: Number of the subject: 0 for the whole frame or the fixed region; boxes that follow each
            other from frame to frame have one number, from 1.
        box: Where it is, x0, y0, x1, y1 in pixels: a detector's as it was given, of a fixed region what lies
            in the picture; None for the whole frame.
        prediction: The answer to this frame alone.
        smoothed: What the subject is by all its frames so far.
        before: The same before this frame.
    """

    track: int
    box: Box | None
    prediction: Prediction
    smoothed: Smoothed
    before: Smoothed

    @property
    def changed(self) -> bool:
        """Whether the smoothed label is another since this frame."""
        return (self.smoothed.state, self.smoothed.label) != (self.before.state, self.before.label)


@dataclass(frozen=True)
class WatchResult:
    """One frame that was looked at, or at which something was found to be gone.

    Attributes:
        frame: The frame; `frame.image` is the picture.
        sightings: What is in it: one where the whole frame or a region is looked at, else one a box.
        gone: Tracks that have had no box for a while, and end here.
        latency: Seconds from the frame's capture to its answer.
        boxes_id: The detector's own name of the frame, where boxes came with one.
        skipped: Whether the detector said nothing of this frame, which then only tells what is gone.
    """

    frame: Frame
    sightings: tuple[Sighting, ...]
    gone: tuple[int, ...]
    latency: float
    boxes_id: str | int | float | None = None
    skipped: bool = False

    @property
    def label(self) -> str | None:
        """The smoothed label of the first sighting; None if that is no species, or there is none."""
        return self.sightings[0].smoothed.label if self.sightings else None

    @property
    def changed(self) -> bool:
        """Whether any sighting's smoothed label is another since this frame."""
        return any(sighting.changed for sighting in self.sightings)


SourceState = Literal["lost", "stalled", "retrying", "reconnected", "short", "unreadable", "boxes", "region"]


@dataclass(frozen=True)
class SourceEvent:
    """Something that happened to the source, or to the boxes on their way.

    Attributes:
        state: "stalled" (no frame for a while), "lost" (it ended), "retrying" (when it is opened again),
            "reconnected", "short" (a video ended long before the end that it tells), "unreadable" (a frame
            or box that cannot be used), "boxes" (a line of boxes that cannot be read, or their end) or
            "region" (the fixed region reaches over the picture's edge, and is cut there).
        message: The same in words.
        time: When, in seconds since 1970 (UTC).
    """

    state: SourceState
    message: str
    time: float
