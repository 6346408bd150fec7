"""The cameras of visitors' browsers: the frames of each are named as those of the device's own source."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

import numpy as np
import PIL.Image

from hmdrn.detectors.motion import MotionDetector
from hmdrn.studio.live_status import MOTION
from hmdrn.studio.session import StudioSession
from hmdrn.watching.frame_classifier import FrameClassifier
from hmdrn.watching.frames import Detector, Frame
from hmdrn.watching.region_detector import RegionDetector
from hmdrn.watching.results import WatchResult
from hmdrn.watching.settings import NO_SMOOTHING
from hmdrn.watching.smoothing import Smoothing
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.preprocessing import Box, clip_box

MAX_CAMERAS = 20
"""Cameras whose names are smoothed; of more, the one that was silent for longest begins anew."""


class _SessionClassifier:
    """The model in use, which calls everything unknown while nothing is enrolled."""

    def __init__(self, session: StudioSession) -> None:
        self._session = session

    def classify_batch(self, images: list[PIL.Image.Image]) -> list[Prediction]:
        recognizer = self._session.recognizer
        if len(recognizer.gallery):
            return recognizer.classify_batch(images)
        return [Prediction("", 0.0, 0.0, False, ()) for _ in images]


class BrowserCamera:
    """One camera.

    Args:
        session: The studio.
        smoothing: Settings of label smoothing.

    Attributes:
        message: The last thing that happened to it; empty if nothing.
    """

    def __init__(self, session: StudioSession, smoothing: Smoothing) -> None:
        self.message: str = ""
        self._lock = threading.Lock()
        self._count = 0
        self._view: tuple[Box | None, bool] = (None, False)
        self._motion: MotionDetector | None = None
        self._classifier = FrameClassifier(
            _SessionClassifier(session), None, None, smoothing, lambda message: None, lambda message: None
        )

    def name(self, data: bytes, region: Box | None, detector: str) -> WatchResult | None:
        """Name what a frame shows.

        Args:
            data: The frame's file.
            region: The part to watch, x0, y0, x1, y1 in pixels of the frame; None for all of it.
            detector: "motion" to find the subjects by it; else the part is one subject.

        Raises:
            ImageError: The frame cannot be read, or the region lies outside of it.
            MissingDependencyError: Motion needs OpenCV (extra `camera`).
        """
        image = load_image(data)
        if region is not None:
            region = clip_box(region, *image.size, "the picture")
        with self._lock:
            self._look_at(region, detector == MOTION)
            now = time.monotonic()
            pixels = np.asarray(image)[..., ::-1]
            frame = Frame(self._count, now, time.time(), now, pixels)
            self._count += 1
            return self._classifier.classify(frame)

    def _look_at(self, region: Box | None, by_motion: bool) -> None:
        if (region, by_motion) == self._view:
            return
        finder: Detector | None = None
        if by_motion:
            finder = self._motion = self._motion or MotionDetector(report=self._note)
            if region is not None:
                finder = RegionDetector(finder, region)
        self.message = ""
        self._classifier.look_at(region, finder)
        self._view = region, by_motion

    def _note(self, message: str) -> None:
        self.message = message


class BrowserCameras:
    """The cameras of all visitors."""

    def __init__(self, session: StudioSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._cameras: OrderedDict[str, BrowserCamera] = OrderedDict()

    def find(self, key: str) -> BrowserCamera:
        """Return the camera of a key that its page has chosen; without a key one for a single frame."""
        if not key:
            return BrowserCamera(self._session, NO_SMOOTHING)
        with self._lock:
            camera = self._cameras.setdefault(key, BrowserCamera(self._session, Smoothing()))
            self._cameras.move_to_end(key)
            if len(self._cameras) > MAX_CAMERAS:
                self._cameras.popitem(last=False)
            return camera
