"""Frames of a clip as JPEG, and JPEGs as a film that browsers play."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hmdrn.visits.clip_buffer import RATE, ClipFrame
from hmdrn.watching.opencv import open_cv2
from hmdrn_runtime.errors import HmdrnError

MAX_SIDE = 640
"""Pixels of the longer side of a clip."""
_JPEG_QUALITY = 80
_NOISE = 4
"""Mean difference of a neighborhood's pixels, of 255, up to which it is noise: a still background costs no
bytes."""
_NEIGHBORHOOD = (9, 9)
_PURPOSE = "clips of visits"
_SEGMENT = b"\x18\x53\x80\x67"
"""Identifier of the element that has all of a Matroska file but its head, before its size of 8 bytes."""


@dataclass(frozen=True, eq=False)
class ClipVideo:
    """A film.

    Attributes:
        webm: The film as WebM with VP8.
        width: Pixels.
        height: Pixels.
        duration: Seconds.
    """

    webm: bytes
    width: int
    height: int
    duration: float


def check_encoder() -> None:
    """Check that clips can be made here.

    Raises:
        MissingDependencyError: OpenCV is not installed.
        HmdrnError: This build of it has no VP8, or there is no folder for temporary files.
    """
    writer, stream = _open_writer(open_cv2(_PURPOSE), (16, 16))
    writer.release()
    stream.close()


def encode_frame(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a frame, BGR or gray, as JPEG with even sides of at most `MAX_SIDE` pixels."""
    cv2 = open_cv2(_PURPOSE)
    height, width = pixels.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = tuple(max(2, round(side * scale / 2) * 2) for side in (width, height))
    small = pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    data: bytes = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return data


def encode_clip(frames: Sequence[ClipFrame]) -> ClipVideo:
    """Return frames as a film; one stands until the next one.

    Args:
        frames: At least one frame of `encode_frame`, by time. Those of another size get that of the first.

    Raises:
        HmdrnError: The film cannot be written; on a full disk, for example.
    """
    cv2 = open_cv2(_PURPOSE)
    shown: Any = None
    try:
        shown = _decode(cv2, frames[0])
        height, width = shown.shape[:2]
        writer, stream = _open_writer(cv2, (width, height))
        with stream:
            slot = frames[0].slot
            for frame in frames:
                for _ in range(slot, frame.slot):
                    writer.write(shown)
                shown, slot = _update(cv2, shown, _decode(cv2, frame)), frame.slot
            writer.write(shown)
            writer.release()
            data = stream.read()
    except (cv2.error, OSError) as error:
        raise HmdrnError(f"cannot make a clip ({error}): make room in {tempfile.gettempdir()}") from error
    return ClipVideo(_to_webm(data), width, height, (slot - frames[0].slot + 1) / RATE)


def _decode(cv2: Any, frame: ClipFrame) -> Any:
    return cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)


def _update(cv2: Any, shown: Any, image: Any) -> Any:
    """Return an image of the film whose pixels are those shown before where it differs by noise alone."""
    if image.shape != shown.shape:
        image = cv2.resize(image, shown.shape[1::-1], interpolation=cv2.INTER_AREA)
    difference = cv2.blur(cv2.cvtColor(cv2.absdiff(image, shown), cv2.COLOR_BGR2GRAY), _NEIGHBORHOOD)
    is_changed = cv2.dilate(difference, np.ones(_NEIGHBORHOOD, np.uint8)) > _NOISE
    return cv2.copyTo(image, is_changed.astype(np.uint8), shown.copy())


def _open_writer(cv2: Any, size: tuple[int, int]) -> tuple[Any, BinaryIO]:
    """Return a writer, and its file to read from, which has no name: a kill leaves nothing behind."""
    codec = cv2.VideoWriter_fourcc(*"VP80")
    try:
        with tempfile.TemporaryDirectory(prefix="hmdrn-clip-") as folder:
            # OpenCV prints a line about the codec's tag for a file that ends with .webm.
            path = Path(folder, "clip.mkv")
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, float(RATE), size)
            if not writer.isOpened():
                raise HmdrnError(
                    "this build of OpenCV cannot write clips (VP8 through FFmpeg): install "
                    "opencv-python-headless, or watch without --clips"
                )
            return writer, path.open("rb")
    except OSError as error:
        raise HmdrnError(
            f"cannot make a clip ({error}): there has to be a folder for temporary files, $TMPDIR"
        ) from error


def _to_webm(matroska: bytes) -> bytes:
    """Return a Matroska film as WebM, which is the same with another name in its head.

    Raises:
        HmdrnError: The film is not whole.
    """
    place = matroska.find(_SEGMENT) + len(_SEGMENT)
    size = int.from_bytes(matroska[place + 1 : place + 8], "big")
    # The size is written at the end, if there was room for it.
    if place < len(_SEGMENT) or size != len(matroska) - place - 8:
        raise HmdrnError(f"cannot make a clip: it is not whole; make room in {tempfile.gettempdir()}")
    # Element "DocType" (0x4282) of 8 bytes; "webm" is 4 bytes shorter, which an element "Void" (0xEC) fills.
    head = matroska[:place].replace(b"\x42\x82\x88matroska", b"\x42\x82\x84webm\xec\x82\x00\x00")
    return head + matroska[place:]
