"""Turn the results of watching into visits."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from hmdrn.visits.clip_recorder import ClipRecorder
from hmdrn.visits.naming import NameTally
from hmdrn.visits.pictures import EVERY_SECONDS, PictureChooser
from hmdrn.visits.reserve import Reserve
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn.watching.frame_classifier import WHOLE_FRAME
from hmdrn.watching.frames import Frame
from hmdrn.watching.results import Sighting, WatchResult
from hmdrn.watching.status import DiaryStatus
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.recognizer import Recognizer

GAP_SECONDS = 10.0
"""Seconds without a frame after which the next one begins another visit."""
PHOTO_PAUSE_SECONDS = 60.0
"""Seconds without a photo after which those of a folder that is followed are a whole visit."""
SAVE_SECONDS = 30.0
"""Seconds after which a visit that goes on is written, so that a power cut loses no more."""
_MAX_WAITING = 1000
"""Visits that wait in memory while the file cannot be written."""


@dataclass
class _OpenVisit:
    """A subject that is still there; times in seconds on the clock of `VisitRecorder._read_clock`."""

    start: float
    start_time: datetime
    chooser: PictureChooser
    tally: NameTally = field(default_factory=NameTally)
    last: float = 0.0
    saved: float = 0.0
    label: str | None = None
    is_decided: bool = False
    has_clip: bool = False
    id: int = 0
    generation: int = 0
    """That of the gallery which named its last frame."""


class VisitRecorder:
    """Writes the visits that `watch` sees.

    A visit is a tracked subject from its first sight to its last. Without boxes it is an uninterrupted sight
    of one species, or of something unknown. A subject whose label stays undecided is left out. Photos less
    than 10 seconds apart, by their EXIF, are one visit. A file that cannot be written does not end the
    watching: visits wait for it, and a full disk costs their pictures.

    Args:
        store: The file.
        recognizer: Names the visits; its model and the generation of its gallery are recorded.
        source: Name of the source, without passwords: `watching.source.name`.
        live: True if frames come at their own time; the times of a film continue from its first frame.
        report: Called once when the file begins to fail.
        clips: Seconds before and after a visit, 0 to 10, to keep a clip of it, of 30 seconds at most; None
            for no clips. A clip is stored some seconds after its visit; photos have none.
        every_frame: False if late frames of a film are dropped, as by `watch(every_frame=False)`: then clips
            are not waited for either, as those of a camera never are, and some visits may have none.

    Attributes:
        recognizer: The recognizer that names the visits; replace it where the model is switched.
        count: Visits that have ended so far.

    Raises:
        MissingDependencyError: Clips need OpenCV (extra `camera`).
        HmdrnError: `clips` is out of its range, or OpenCV cannot write them.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> with hmdrn.VisitStore("new.visits", create=True) as visits:
        ...     watching = hmdrn.watch(birds, "film.mp4")
        ...     recorder = hmdrn.VisitRecorder(visits, birds, watching.source.name)
        ...     for result in watching:
        ...         ended = recorder.add(result)
        ...     ended = recorder.close()
        ...     visits.count() == recorder.count
        True
    """

    def __init__(
        self,
        store: VisitStore,
        recognizer: Recognizer,
        source: str,
        live: bool = True,
        report: Callable[[str], None] = lambda message: None,
        clips: float | None = None,
        every_frame: bool = True,
    ) -> None:
        self.recognizer: Recognizer = recognizer
        self._store, self._source, self._report = store, source, report
        self._live = live
        waits = every_frame and not live
        self._clips = None if clips is None else ClipRecorder(store, clips, waits, report)
        self._pause_end = math.inf
        """When the visits end if no frame comes until then, on the monotonic clock."""
        self._offset: float | None = None
        """Seconds since 1970 at which a film begins."""
        self._open: dict[int, _OpenVisit] = {}
        self._waiting: deque[Visit] = deque(maxlen=_MAX_WAITING)
        self._is_failing = False
        self._without_pictures = 0
        self._last: Visit | None = None
        self._reserve = Reserve(store.path)
        self.count: int = 0
        store.close_open()

    def add(self, result: WatchResult) -> list[Visit]:
        """Record a frame, and return the visits that ended before it.

        Raises:
            ImageError: The frame cannot be read.
        """
        ended = [self._close(track) for track in result.gone if track in self._open]
        clock, captured = self._read_clock(result.frame)
        if self._clips is not None:
            self._clips.add(result.frame, clock)
        for sighting in result.sightings:
            visit = self._open.get(sighting.track)
            if visit is not None and _is_over(visit, sighting, clock, result.frame):
                ended.append(self._close(sighting.track))
                visit = None
            if visit is None:
                every = 0.0 if result.frame.file is not None else EVERY_SECONDS
                visit = _OpenVisit(clock, captured, PictureChooser(every), saved=clock)
                self._open[sighting.track] = visit
            self._update(visit, sighting, result.frame, clock, captured)
        if result.frame.file is not None:
            self._pause_end = time.monotonic() + PHOTO_PAUSE_SECONDS
        elif self._live:
            self._pause_end = time.monotonic() + GAP_SECONDS
        return [visit for visit in ended if visit is not None]

    def end_pause(self) -> list[Visit]:
        """End the visits, and return them, if no frame has come for ten seconds, no photo for a minute."""
        if time.monotonic() < self._pause_end:
            return []
        self._pause_end = math.inf
        ended = [self._close(track) for track in list(self._open)]
        return [visit for visit in ended if visit is not None]

    def status(self) -> DiaryStatus:
        """Return the present state of the diary; from any thread."""
        last = self._last
        name, end = (None, None) if last is None else (last.naming.text, last.end)
        return DiaryStatus(
            self.count,
            len(self._waiting),
            self._without_pictures,
            self._is_failing,
            name,
            end,
            self.missing_clips,
        )

    @property
    def missing_clips(self) -> int:
        """Number of visits that stayed without the clip that they should have."""
        return 0 if self._clips is None else self._clips.missing

    def close(self) -> list[Visit]:
        """End all visits, and return them, once their clips are stored."""
        ended = [self._close(track) for track in list(self._open)]
        if self._clips is not None:
            self._clips.close()
        self._reserve.release()
        return [visit for visit in ended if visit is not None]

    def _read_clock(self, frame: Frame) -> tuple[float, datetime]:
        """Return a frame's place on a clock that does not jump, in seconds, and its time of capture."""
        if frame.file is not None:
            return frame.time, datetime.fromtimestamp(frame.time, timezone.utc)
        if self._offset is None:
            self._offset = frame.time - frame.position
        seconds = frame.time if self._live else self._offset + frame.position
        return frame.position, datetime.fromtimestamp(seconds, timezone.utc)

    def _update(
        self, visit: _OpenVisit, sighting: Sighting, frame: Frame, clock: float, time: datetime
    ) -> None:
        visit.last = max(clock, visit.start)
        visit.tally.add(sighting.prediction)
        visit.generation = self.recognizer.gallery.generation
        if sighting.smoothed.state != "undecided":
            visit.is_decided, visit.label = True, sighting.smoothed.label
        box = sighting.box
        visit.chooser.offer(
            lambda: frame.image if box is None else frame.crop(box),
            box,
            sighting.prediction,
            clock,
            time,
        )
        # The next photo of a folder may come much later, and this one is not answered again.
        is_due = frame.file is not None or clock - visit.saved >= SAVE_SECONDS
        fills_clip = self._clips is not None and self._clips.is_full(visit.start, clock)
        if visit.is_decided and (is_due or (fills_clip and not visit.has_clip)):
            visit.saved = clock
            stored = self._write(self._make(visit, sighting.track, is_closed=False))
            visit.id = stored.id
            if fills_clip:
                self._request_clip(visit, stored)

    def _close(self, track: int) -> Visit | None:
        """End a visit; returns it as it is stored, None if it has no name."""
        visit = self._open.pop(track)
        if not visit.is_decided:
            return None
        self.count += 1
        self._last = self._write(self._make(visit, track, is_closed=True))
        self._request_clip(visit, self._last)
        return self._last

    def _request_clip(self, visit: _OpenVisit, stored: Visit) -> None:
        if self._clips is not None and not visit.has_clip:
            visit.has_clip = True
            self._clips.request(stored, visit.start, visit.last)

    def _make(self, visit: _OpenVisit, track: int, is_closed: bool) -> Visit:
        model = self.recognizer.bundle.manifest.network.fingerprint
        naming = visit.tally.result(model, visit.generation)
        return Visit(
            visit.start_time,
            visit.last - visit.start,
            self._source,
            naming,
            track,
            visit.tally.count,
            visit.chooser.choose(naming.label),
            is_closed,
            visit.id,
        )

    def _write(self, visit: Visit) -> Visit:
        """Write a visit, and those that wait; without pictures, or later, if the disk is full."""
        if not self._is_failing or self._reserve.has_room:
            try:
                stored = self._store.save(visit)
            except HmdrnError as error:
                if not self._is_failing:
                    self._report(f"{error}; until then visits have no pictures, or wait in memory")
                    self._is_failing = True
                    self._reserve.release()
            else:
                self._write_waiting()
                if self._is_failing and not self._waiting:
                    self._is_failing = False
                    self._reserve.fill()
                return stored
        self._store.shrink_log()
        self._without_pictures += visit.closed and bool(visit.pictures)
        try:
            self._write_waiting()
            return self._store.save(visit, has_pictures=False)
        except HmdrnError:
            if visit.closed:
                self._waiting.append(replace(visit, pictures=()))
            return visit

    def _write_waiting(self) -> None:
        while self._waiting:
            try:
                self._store.save(self._waiting[0])
            except HmdrnError:
                return
            self._waiting.popleft()


def _is_over(visit: _OpenVisit, sighting: Sighting, clock: float, frame: Frame) -> bool:
    if abs(clock - visit.last) > GAP_SECONDS:
        return True
    if sighting.track != WHOLE_FRAME or frame.file is not None or not visit.is_decided:
        return False
    smoothed = sighting.smoothed
    return smoothed.state != "undecided" and smoothed.label != visit.label
