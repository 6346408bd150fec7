"""Results of watching, frame by frame, and events of its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hmdrn.watching.frames import Frame
from hmdrn.watching.smoothing import SmoothedLabel
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.images.preprocessing import Box


@dataclass(frozen=True)
class Sighting:
    """One subject in one frame.

    Attributes:
        track: Number of the subject: 0 for the whole frame or the fixed region; boxes that follow each
            other from frame to frame share a number, from 1.
        box: The subject's place, x0, y0, x1, y1 in pixels: a detector's box as given, a fixed region as
            clipped to the image; None for the whole frame.
        prediction: The prediction for this frame alone.
        smoothed: The label by all of the subject's frames so far.
        previous: The smoothed label before this frame.

    Examples:
        >>> *_, last = hmdrn.watch("default", "film.mp4", gallery="site7.gallery", max_frames=5)
        >>> [sighting] = last.sightings
        >>> sighting.track, sighting.box
        (0, None)
    """

    track: int
    box: Box | None
    prediction: Prediction
    smoothed: SmoothedLabel
    previous: SmoothedLabel

    @property
    def changed(self) -> bool:
        """True if this frame changed the smoothed label."""
        return not self.smoothed.is_same(self.previous)


@dataclass(frozen=True)
class WatchResult:
    """One frame that was classified, or at which a subject was found to be gone.

    Attributes:
        frame: The frame; `frame.image` is the image.
        sightings: The subjects: one if the whole frame or a region is watched, else one for each box.
        gone: Tracks that have had no box for a while, and end here.
        latency: Seconds from the frame's capture to its result.
        detector_frame_id: The detector's own name of the frame, if its boxes had one.
        skipped: Whether the detector had nothing for this frame, which then only reports `gone`.

    Examples:
        >>> *_, last = hmdrn.watch("default", "film.mp4", gallery="site7.gallery", max_frames=5)
        >>> last.label in (None, "Sooty Albatross", "Laysan Albatross", "Albatros", "Wandering Albatross")
        True
    """

    frame: Frame
    sightings: tuple[Sighting, ...]
    gone: tuple[int, ...]
    latency: float
    detector_frame_id: str | int | float | None = None
    skipped: bool = False

    @property
    def label(self) -> str | None:
        """The smoothed label of the first sighting; None without a sighting or species."""
        return self.sightings[0].smoothed.label if self.sightings else None

    @property
    def changed(self) -> bool:
        """True if this frame changed any sighting's smoothed label."""
        return any(sighting.changed for sighting in self.sightings)


SourceState = Literal[
    "lost",
    "stalled",
    "retrying",
    "reconnected",
    "short",
    "unreadable",
    "boxes",
    "region",
    "camera",
    "gallery",
]


@dataclass(frozen=True)
class SourceEvent:
    """An event of the source, or of the boxes.

    Attributes:
        state: "stalled" (no frame for a while), "lost" (it ended), "retrying" (it will be opened again),
            "reconnected", "short" (a video ended long before the end that it reports), "unreadable" (a frame
            or box cannot be used), "boxes" (a line of boxes cannot be read, or the lines ended), "region"
            (the fixed region was clipped to the image) or "camera" (it moves, and motion needs one that does
            not).
        message: The event in words.
        time: Seconds since 1970 (UTC).

    Examples:
        >>> events = []
        >>> watching = hmdrn.watch("default", "film.mp4", gallery="site7.gallery", on_event=events.append)
        >>> frames = sum(1 for result in watching)
        >>> [event.state for event in events]
        []
    """

    state: SourceState
    message: str
    time: float
