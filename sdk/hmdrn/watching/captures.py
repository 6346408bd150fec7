"""Open sources, which give one frame after another until they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn.watching.hot_folder import HotFolderCapture
from hmdrn.watching.opencv import encode_name, has_gstreamer, open_cv2
from hmdrn.watching.picamera import PicameraAddress, PicameraCapture
from hmdrn.watching.sources import Source
from hmdrn_runtime.datasets.files import find_photos
from hmdrn_runtime.errors import DatasetError, SourceError

if TYPE_CHECKING:
    from hmdrn.watching.polling import PollingCapture

Pixels: TypeAlias = npt.NDArray[np.uint8] | Path
"""BGR uint8 (H, W, 3) or gray (H, W), as OpenCV gives them; or the path of a photo that is read later."""

_DEFAULT_RATE = 30.0
_OPEN_TIMEOUT = 10.0
"""Seconds that opening an address may take."""


class PhotoCapture:
    """Photos in the order of their names, read when they are classified.

    Attributes:
        rate: Photos a second at which a folder is played.
        frames: Number of photos.
    """

    rate: float = 1.0

    def __init__(self, photos: Sequence[Path]) -> None:
        self.frames: int = len(photos)
        self._photos = iter(photos)

    def read(self) -> Path | None:
        """Return the next photo's path, None after the last one."""
        return next(self._photos, None)

    def close(self) -> None:
        """Do nothing."""


class VideoCapture:
    """A camera, stream, pipeline or video, through OpenCV.

    Attributes:
        rate: Frames a second, as the source reports it, above 0.
        frames: Number of frames, as a file reports it; 0 if unknown.

    Raises:
        SourceError: The source cannot be opened.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, source: Source, stall_after: float) -> None:
        cv2 = open_cv2("watching a camera or video")
        if source.kind == "pipeline" and not has_gstreamer(cv2):
            raise SourceError(
                f"this build of OpenCV ({cv2.__version__}) has no GStreamer, which {source.name} needs: "
                "use the system's OpenCV (JetPack's, or python3-opencv) in place of opencv-python-headless"
            )
        self._capture = _open_video(cv2, source, stall_after)
        if not self._capture.isOpened():
            raise SourceError(_explain_failure(source))
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate: float = rate if 0.1 <= rate <= 1000 else _DEFAULT_RATE
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames: int = int(count) if source.kind == "video" and 0 < count < 1e9 else 0

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Return the next frame, None after the last one. Blocks."""
        success, pixels = self._capture.read()
        return np.asarray(pixels, np.uint8) if success else None

    def close(self) -> None:
        """Release the device, address or file."""
        self._capture.release()


def open_capture(
    source: Source, stall_after: float, is_closed: Callable[[], bool]
) -> PhotoCapture | HotFolderCapture | PicameraCapture | PollingCapture | VideoCapture:
    """Open a source. Blocks, for an address up to some seconds.

    Args:
        source: The source.
        stall_after: Seconds without a frame after which its reader gives up an address.
        is_closed: Returns True when reading must end.

    Raises:
        SourceError: The source cannot be opened.
        MissingDependencyError: The source needs OpenCV, which is not installed.
    """
    if source.seen_file is not None:
        return HotFolderCapture(Path(str(source.target)), source.seen_file, is_closed)
    if source.kind == "photos":
        return PhotoCapture(_list_photos(Path(str(source.target))))
    if source.kind == "picamera":
        return PicameraCapture(PicameraAddress.parse(str(source.target)) or PicameraAddress())
    if source.is_http:
        from hmdrn.watching.polling import DEFAULT_SECONDS, PollingCapture, serves_pictures

        if source.poll is not None or serves_pictures(source, _OPEN_TIMEOUT):
            return PollingCapture(source, source.poll or DEFAULT_SECONDS, _OPEN_TIMEOUT, is_closed)
    return VideoCapture(source, stall_after)


def _open_video(cv2: Any, source: Source, stall_after: float) -> Any:
    target = encode_name(source.target) if isinstance(source.target, str) else source.target
    if source.kind == "pipeline":
        return cv2.VideoCapture(target, cv2.CAP_GSTREAMER)
    if source.kind == "stream" and cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        # The reader notices a stall first; these limits end its thread, which would wait for ever.
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * _OPEN_TIMEOUT)]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(2000 * stall_after)]
        return cv2.VideoCapture(target, cv2.CAP_FFMPEG, limits)
    capture = cv2.VideoCapture(target)
    if source.kind == "camera":
        # Frames that wait in the driver are old when they are read. Not every driver supports this.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _explain_failure(source: Source) -> str:
    if source.kind == "camera":
        return f"cannot open {source.name}: no such device, in use, or not allowed (is it in /dev/video*?)"
    if source.kind == "video":
        return f"cannot read {source.name}: not a video, or its codec is unknown to this build of OpenCV"
    if source.kind == "pipeline":
        return f"GStreamer cannot run {source.name}: try it with gst-launch-1.0, and end it in appsink"
    return f"cannot open {source.name}: check the address, the user and password, and that it is up"


def _list_photos(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        photos = find_photos(path)
    except DatasetError as error:
        raise SourceError(str(error)) from error
    if not photos:
        raise SourceError(f"{path} holds no photo: give a folder of photos, or a video")
    return photos
