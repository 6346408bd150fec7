"""Opened sources: frames one after the other, until there are no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn.watching.opencv import has_gstreamer, open_cv2
from hmdrn.watching.sources import Source
from hmdrn_runtime.datasets.files import photos_below
from hmdrn_runtime.errors import DatasetError, SourceError

Pixels: TypeAlias = npt.NDArray[np.uint8] | Path
"""BGR uint8 (H, W, 3) or grey (H, W), as OpenCV gives them; or a photo that is yet to be read."""

PHOTO_RATE = 1.0
"""Photos a second that a folder counts as."""
_USUAL_RATE = 30.0
_OPENING = 10.0
"""Seconds that opening an address may take."""


class Capture(Protocol):
    """An opened source.

    Attributes:
        rate: Frames a second, as the source tells, above 0.
        frames: Frames in all, as a file tells; 0 where that is not told.
    """

    rate: float
    frames: int

    def read(self) -> Pixels | None:
        """The next frame; None when there are no more. Blocks."""

    def close(self) -> None:
        """Let go of the device or file."""


def open_capture(source: Source, stall_after: float) -> Capture:
    """Open a source. Blocks, for an address some seconds.

    Args:
        source: What to open.
        stall_after: Seconds without a frame after which an address is given up by its reader.

    Raises:
        SourceError: It cannot be opened.
        MissingDependencyError: It needs OpenCV, which is not installed.
    """
    if source.kind == "photos":
        return PhotoCapture(_photos(Path(str(source.target))))
    return VideoCapture(source, stall_after)


class PhotoCapture:
    """Photos in the order of their names, read when they are looked at."""

    rate = PHOTO_RATE

    def __init__(self, photos: Sequence[Path]) -> None:
        self.frames = len(photos)
        self._photos = iter(photos)

    def read(self) -> Pixels | None:
        """The next photo's path."""
        return next(self._photos, None)

    def close(self) -> None:
        """Nothing is open."""


class VideoCapture:
    """A camera, stream, pipeline or video, through OpenCV.

    Raises:
        SourceError: It cannot be opened.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, source: Source, stall_after: float) -> None:
        cv2 = open_cv2("watching a camera or video")
        if source.kind == "pipeline" and not has_gstreamer(cv2):
            raise SourceError(
                f"this build of OpenCV ({cv2.__version__}) has no GStreamer, which {source.name} needs: "
                "use the system's OpenCV (JetPack's, or python3-opencv) in place of opencv-python-headless"
            )
        self._capture = _opened(cv2, source, stall_after)
        if not self._capture.isOpened():
            raise SourceError(_refusal(source))
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 0.1 <= rate <= 1000 else _USUAL_RATE
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(count) if source.kind == "video" and 0 < count < 1e9 else 0

    def read(self) -> Pixels | None:
        """The next frame."""
        there, pixels = self._capture.read()
        return np.asarray(pixels, np.uint8) if there else None

    def close(self) -> None:
        """Let go of the device, address or file."""
        self._capture.release()


def _opened(cv2: Any, source: Source, stall_after: float) -> Any:
    if source.kind == "pipeline":
        return cv2.VideoCapture(source.target, cv2.CAP_GSTREAMER)
    if source.kind == "stream" and cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        # The reader notices a stall first; this ends its thread, which would wait for ever.
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * _OPENING)]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(2000 * stall_after)]
        return cv2.VideoCapture(source.target, cv2.CAP_FFMPEG, limits)
    capture = cv2.VideoCapture(source.target)
    if source.kind == "camera":
        # Frames that wait in the driver are old when they are read. Not every driver can.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _refusal(source: Source) -> str:
    if source.kind == "camera":
        return f"cannot open {source.name}: no such device, in use, or not allowed (is it in /dev/video*?)"
    if source.kind == "video":
        return f"cannot read {source.name}: no video, or of a codec that this build of OpenCV does not know"
    if source.kind == "pipeline":
        return f"GStreamer cannot run {source.name}: try it with gst-launch-1.0, and end it in appsink"
    return f"cannot open {source.name}: check the address, the user and password, and that it is up"


def _photos(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        photos = photos_below(path)
    except DatasetError as error:
        raise SourceError(str(error)) from error
    if not photos:
        raise SourceError(f"{path} holds no photo: give a folder of photos, or a video")
    return photos
