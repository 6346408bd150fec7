"""A source watched in a thread of its own, for any number of viewers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import PIL.Image

from hmdrn.detectors.motion import MotionDetector
from hmdrn.studio.live_picture import LivePicture
from hmdrn.studio.live_status import GIVEN, MOTION, NO_DETECTOR, LiveStatus, describe_subject
from hmdrn.visits.recorder import VisitRecorder
from hmdrn.visits.store import VisitStore
from hmdrn.watching.frames import Detector, Frame
from hmdrn.watching.results import SourceEvent, WatchResult
from hmdrn.watching.watch import watch
from hmdrn.watching.watch_loop import Watch
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import HmdrnError, ImageError
from hmdrn_runtime.images.preprocessing import Box, clip_box
from hmdrn_runtime.images.quality import PreparedPhoto, prepare_photo
from hmdrn_runtime.recognizer import Recognizer

_BURST, _BURST_EVERY = 40, 0.2
"""Frames that are kept to be enrolled, and the least seconds between two of them."""


class _EmptyGalleryClassifier:
    """The present recognizer, which calls everything unknown while nothing is enrolled."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer

    def classify_batch(self, images: list[PIL.Image.Image]) -> list[Prediction]:
        recognizer = self.recognizer
        if len(recognizer.gallery):
            return recognizer.classify_batch(images)
        return [Prediction("", 0.0, 0.0, False, ()) for _ in images]


@dataclass
class LiveView:
    """Watches a source, names what it shows, and records its visits; a film plays at its own rate.

    Args:
        recognizer: Names the frames.
        source: As for `watch`.
        detector: Finds the subjects; None for the whole frame.
        visits: The diary to write; None for none.
        report: Called with what happens to the source.
        clips: Seconds before and after a visit that its clip has; None for no clips.
    """

    recognizer: Recognizer
    source: str
    detector: Detector | None = None
    visits: VisitStore | None = None
    report: Callable[[str], None] = lambda message: None
    clips: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _frames: deque[PreparedPhoto] = field(default_factory=lambda: deque(maxlen=_BURST))
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=30))

    def __post_init__(self) -> None:
        self._classifier = _EmptyGalleryClassifier(self.recognizer)
        self._recorder: VisitRecorder | None = None
        self._watch: Watch = watch(
            self._classifier, self.source, every_frame=False, boxes=self.detector, on_event=self._note
        )
        given = NO_DETECTOR if self.detector is None else GIVEN
        if isinstance(self.detector, MotionDetector):
            given = MOTION
        self.detectors: tuple[str, ...] = tuple(dict.fromkeys((NO_DETECTOR, MOTION, given)))
        self.status: LiveStatus = LiveStatus(self._watch.source.name, detector=given)
        self._motion: MotionDetector | None = None
        self.picture: LivePicture = LivePicture()
        self._kept = 0.0
        self._resume = threading.Event()
        self._resume.set()
        self._thread = threading.Thread(target=self._run, name="hmdrn-studio-live", daemon=True)

    def start(self) -> None:
        """Begin to watch.

        Raises:
            HmdrnError: Clips cannot be made here.
        """
        if self.visits is not None:
            source = self._watch.source
            self._recorder = VisitRecorder(
                self.visits,
                self.recognizer,
                source.name,
                source.live,
                self.report,
                self.clips,
                every_frame=False,
            )
            self._watch.on_pause = self._end_pause
        self._thread.start()

    def stop(self) -> None:
        """End watching after the present frame, without waiting for it; viewers' pictures end too."""
        self._watch.stop()
        self._resume.set()

    def close(self) -> None:
        """End watching, and wait for it."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(10)

    def pause(self, is_paused: bool) -> None:
        """Pause or continue for all viewers; frames of a camera that come meanwhile are dropped."""
        if is_paused:
            self._resume.clear()
        else:
            self._resume.set()
        self._update(is_paused=is_paused)

    def look_at(self, region: Box | None, detector: str) -> None:
        """Watch a part of the picture, and find the subjects in it, for all viewers; from the next frame on.

        Args:
            region: x0, y0, x1, y1 in pixels of the frame, clipped to it; None for the whole frame.
            detector: One of `detectors`.

        Raises:
            HmdrnError: There is no such detector, or it does not fit the source; or there is no frame yet.
            ImageError: The region is too small, or lies outside of the frame.
        """
        finder = self._choose_detector(detector)
        if region is not None:
            if self.status.size is None:
                raise HmdrnError("there is no picture yet: wait for the first one, and try again")
            region = clip_box(region, *self.status.size, "the picture")
        self._watch.look_at(region, finder)
        with self._lock:
            self._frames.clear()  # they may show what is not watched any more
        self.picture.outline(region)
        self._update(region=region, detector=detector)

    def _choose_detector(self, name: str) -> Detector | None:
        if name not in self.detectors:
            raise HmdrnError(f"no detector {name[:40]!r}: choose one of {', '.join(self.detectors)}")
        if name == NO_DETECTOR:
            return None
        if name == MOTION and not isinstance(self.detector, MotionDetector):
            if self._watch.source.kind == "photos":
                raise HmdrnError("motion needs a camera or a film: photos of a folder do not move")
            if self._motion is None:
                self._motion = MotionDetector(report=self.report)
            return self._motion
        return self.detector

    def use(self, recognizer: Recognizer) -> None:
        """Name the next frames by another model."""
        self.recognizer = self._classifier.recognizer = recognizer
        if self._recorder is not None:
            self._recorder.recognizer = recognizer
        with self._lock:
            self._frames.clear()  # prepared for the former model

    def list_frames(self) -> list[PreparedPhoto]:
        """Return the subjects of the last seconds, as prepared photos, the oldest first."""
        with self._lock:
            return list(self._frames)

    def _run(self) -> None:
        recorder = self._recorder
        try:
            for result in self._watch:
                if recorder is not None:
                    recorder.add(result)
                self._show(result)
                self._resume.wait()
        except HmdrnError as error:
            self._update(message=str(error))
            self.report(str(error))
        finally:
            if recorder is not None:
                recorder.close()
            self._update(has_ended=True)

    def _end_pause(self) -> None:
        if self._recorder is not None:
            self._recorder.end_pause()

    def _show(self, result: WatchResult) -> None:
        now = time.monotonic()
        self._times.append(now)
        if now - self._kept >= _BURST_EVERY:
            self._kept = now
            self._keep(result)
        span = self._times[-1] - self._times[0]
        subjects = tuple(describe_subject(sighting) for sighting in result.sightings)
        if not result.skipped:
            self.picture.show(result, [subject.evidence for subject in subjects])
        self._update(
            subjects=subjects,
            frames=self._watch.summary.classified,
            rate=(len(self._times) - 1) / span if span else 0.0,
            latency=result.latency,
            size=_read_size(result.frame),
        )

    def _keep(self, result: WatchResult) -> None:
        """Keep the frame's only subject to be enrolled; of several it is unclear which one is meant."""
        if len(result.sightings) != 1:
            return
        box = result.sightings[0].box
        try:
            image = result.frame.image if box is None else result.frame.crop(box)
            photo = prepare_photo(image, self.recognizer.preprocessing, "a frame")
        except ImageError:
            return
        with self._lock:
            self._frames.append(photo)

    def _note(self, event: SourceEvent) -> None:
        self._update(message=event.message)
        self.report(event.message)

    def _update(self, **values: object) -> None:
        with self._lock:
            self.status = replace(self.status, **values)  # type: ignore[arg-type]


def _read_size(frame: Frame) -> tuple[int, int]:
    """Return a frame's width and height, without converting a camera's frame."""
    if isinstance(frame.pixels, Path):
        return frame.image.size
    height, width = frame.pixels.shape[:2]
    return width, height
