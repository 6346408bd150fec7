"""Settings of watching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hmdrn.watching.detector_input import BoxSource, check_box_source
from hmdrn.watching.frames import Detector
from hmdrn.watching.results import SourceEvent
from hmdrn.watching.smoothing import Smoothing
from hmdrn_runtime.arguments import check_callable, check_count, check_kind, check_number
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box

NO_SMOOTHING = Smoothing(0.0, 0.0, 1)
"""Every frame by itself, as for a folder: its photos need not follow each other."""


@dataclass(frozen=True)
class WatchSettings:
    """Settings of watching; see `watch` for each."""

    every_frame: bool
    smoothing: Smoothing
    region: Box | None = None
    boxes: Detector | BoxSource | None = None
    loop: bool = False
    stall_after: float = 5.0
    max_frames: int | None = None
    max_seconds: float | None = None
    on_event: Callable[[SourceEvent], None] | None = None

    def __post_init__(self) -> None:
        if self.region is not None and self.boxes is not None:
            raise HmdrnError("give a region or boxes, not both: boxes are pixels of the whole frame")
        check_kind(self.smoothing, Smoothing, "smoothing", "give a hmdrn.Smoothing, or None for the default")
        check_number(self.stall_after, "stall_after", "give more than 0 seconds", valid=lambda s: s > 0)
        if self.max_frames is not None:
            advice = "give at least 1, a whole number, or None for no limit"
            check_count(self.max_frames, "max_frames", advice)
        if self.max_seconds is not None:
            advice = "give more than 0, or None for no limit"
            check_number(self.max_seconds, "max_seconds", advice, valid=lambda s: s > 0)
        if self.on_event is not None:
            check_callable(self.on_event, "on_event", "give a function of a SourceEvent, or None")
        if isinstance(self.boxes, int | Path):
            check_box_source(self.boxes)
