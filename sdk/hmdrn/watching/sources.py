"""Sources of frames, and the text by which a user names one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from hmdrn.watching.picamera import PicameraAddress
from hmdrn.watching.seen_photos import STATE_NAME
from hmdrn_runtime.arguments import check_number
from hmdrn_runtime.credentials import is_pipeline, mask_secrets
from hmdrn_runtime.errors import SourceError
from hmdrn_runtime.images.formats import is_photo
from hmdrn_runtime.io.files import expand_path

SourceKind = Literal["camera", "picamera", "stream", "pipeline", "video", "photos"]

STREAMS = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt")
"""Schemes of the addresses that are watched as live streams."""

CSI_PIPELINE = (
    "nvarguscamerasrc sensor-id={sensor} ! "
    "video/x-raw(memory:NVMM), width=1280, height=720, framerate=30/1, format=NV12 ! "
    "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)
"""A Jetson's camera on its CSI connector; not yet run on hardware."""

_EXPECTED = (
    "a camera's number such as 0, a video, a folder of photos, rtsp://... or http://..., csi://0, "
    "picamera, or a GStreamer pipeline"
)


@dataclass(frozen=True)
class Source:
    """A source of frames.

    Attributes:
        kind: "camera" (a device), "picamera" (a Raspberry Pi's), "stream" (an address), "pipeline"
            (GStreamer), "video" (a file) or "photos" (a folder, or one photo).
        target: What to open: a device's number, a path, an address or a pipeline; may hold a password.
        name: The name in messages; never holds a password.
        seen_file: Of a folder that is followed, the file of its photos that were answered; else None.
        poll: Seconds between two requests to an address that serves single pictures; None to find out.
        is_recording: Whether it is a video whose frames have the times of its recording; else they have the
            present time.
        start: When the recording began, in seconds since 1970; None to find out by the file.
    """

    kind: SourceKind
    target: int | str = field(repr=False)
    name: str
    seen_file: Path | None = None
    poll: float | None = None
    is_recording: bool = False
    start: float | None = None

    @property
    def path(self) -> Path | None:
        """The file, folder or device to read; None for a source without a path."""
        if self.kind in ("picamera", "stream", "pipeline") or isinstance(self.target, int):
            return None
        return Path(self.target)

    @property
    def is_http(self) -> bool:
        """True for an address that a GET can be sent to."""
        return self.kind == "stream" and str(self.target).lower().startswith(("http:", "https:"))

    @property
    def live(self) -> bool:
        """True if frames arrive at their own time: such a source is reconnected, a file ends."""
        return self.kind in ("camera", "picamera", "stream", "pipeline")


def parse_source(source: str | int | os.PathLike[str]) -> Source:
    """Find the source that a user means.

    Args:
        source: A device's number (0, "0"), "csi://N", "picamera://N", an address of `STREAMS`, a GStreamer
            pipeline (recognized by " ! "; it ends in `appsink` and gives BGR), or the path of a video, photo,
            device or folder. A `Path` is always a path.

    Raises:
        SourceError: The file or folder does not exist, the kind of source is unknown, or a text is both a
            device's number and the name of a file or folder.
    """
    if isinstance(source, os.PathLike):
        return _parse_path(os.fsdecode(source))
    if isinstance(source, str) and os.path.exists(source):  # noqa: PTH110 (any text is valid)
        if _is_number(source):
            raise SourceError(
                f"{source!r} is a camera's number and also the name of a file or folder here: give "
                f"'./{source}' for that, '/dev/video{source}' for the camera (in Python the number {source})"
            )
        return _parse_path(source)
    text = str(source).strip()
    if _is_number(text):
        return Source("camera", int(text), f"camera {int(text)}")
    if csi := re.fullmatch(r"csi://([0-9]+)", text):
        return Source("pipeline", CSI_PIPELINE.format(sensor=csi[1]), text)
    if PicameraAddress.parse(text) is not None:
        return Source("picamera", text, text)
    name = mask_secrets(text, is_address=True)
    if is_pipeline(text):
        return Source("pipeline", text, name)
    scheme, separator, _ = text.partition("://")
    if separator:
        if scheme.lower() not in STREAMS:
            raise SourceError(f"cannot watch {name!r}: give {_EXPECTED}")
        return Source("stream", text, name)
    return _parse_path(text)


def follow_source(source: Source, follow: bool | str | os.PathLike[str], loop: bool) -> Source:
    """Return a folder as one that is followed, if `follow` is True or the file of its answered photos.

    Raises:
        SourceError: The source is not a folder, or it is looped.
    """
    if follow is False:
        return source
    if source.path is None or not source.path.is_dir():
        raise SourceError(f"cannot follow {source.name}: give a folder that photos come into")
    if loop:
        raise SourceError("give follow or loop, not both: a folder that is followed has no end")
    path = source.path / STATE_NAME if follow is True else expand_path(follow, SourceError)
    return replace(source, seen_file=path)


def poll_source(source: Source, seconds: float | None) -> Source:
    """Return an address as one that serves a picture for each request, if there are `seconds` between two.

    Raises:
        SourceError: The seconds are not above 0, or the source is not an HTTP address.
    """
    if seconds is None:
        return source
    check_number(seconds, "poll", "give more than 0 seconds", SourceError, lambda value: value > 0)
    if not source.is_http:
        raise SourceError(f"cannot poll {source.name}: give an address with http:// or https://")
    return replace(source, poll=float(seconds))


def date_source(source: Source, start: datetime | None, is_played: bool) -> Source:
    """Return a video as a recording, unless it is played like a camera; other sources as they are.

    Args:
        source: The source.
        start: When the recording began; None to find out by the file.
        is_played: Whether it is looped, or late frames are dropped.

    Raises:
        SourceError: There is a start, but the source is not a recording.
    """
    if source.kind == "video" and not is_played:
        return replace(source, is_recording=True, start=None if start is None else start.timestamp())
    if start is not None:
        raise SourceError(
            f"cannot date {source.name}: start is for a video of which every frame is answered once"
        )
    return source


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def _parse_path(text: str) -> Source:
    path = expand_path(text, SourceError)
    if not text or not path.exists():
        name = mask_secrets(text, is_address=True)
        raise SourceError(f"no such file or folder: {name!r}; the source is {_EXPECTED}")
    is_photos = path.is_dir() or (path.is_file() and is_photo(path.name))
    kind: SourceKind = "photos" if is_photos else "camera" if path.is_char_device() else "video"
    return Source(kind, str(path), str(path))
