"""What can be watched, and how a user names it."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hmdrn_runtime.datasets.dataset import is_photo
from hmdrn_runtime.errors import SourceError
from hmdrn_runtime.io.files import user_path

Kind = Literal["camera", "stream", "pipeline", "video", "photos"]

STREAMS = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt")
"""Schemes of the addresses that are watched as live streams."""

CSI_PIPELINE = (
    "nvarguscamerasrc sensor-id={sensor} ! "
    "video/x-raw(memory:NVMM), width=1280, height=720, framerate=30/1, format=NV12 ! "
    "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)
"""A Jetson's camera on its CSI connector; not yet run on hardware."""

_KINDS = (
    "a camera's number such as 0, a video, a folder of photos, rtsp://... or http://..., csi://0, "
    "or a GStreamer pipeline"
)


@dataclass(frozen=True)
class Source:
    """Something that gives frames.

    Attributes:
        kind: "camera" (a device), "stream" (an address), "pipeline" (GStreamer), "video" (a file) or
            "photos" (a folder, or one photo).
        target: What opens it: a device's number, a path, an address or a pipeline.
        name: What messages call it; never holds a password.
    """

    kind: Kind
    target: int | str
    name: str

    @property
    def path(self) -> Path | None:
        """The file, folder or device that is read; None of what has no path."""
        return (
            None if self.kind in ("stream", "pipeline") or isinstance(self.target, int) else Path(self.target)
        )

    @property
    def live(self) -> bool:
        """Whether its frames come when they like: such a source is reconnected, a file ends."""
        return self.kind in ("camera", "stream", "pipeline")


def parse_source(source: str | int | os.PathLike[str]) -> Source:
    """What a user means by a source.

    Args:
        source: A device's number (0, "0"), "csi://N", an address of `STREAMS`, a GStreamer pipeline (told
            by " ! "; it ends in `appsink` and gives BGR), or the path of a video, photo, device or folder.

    Raises:
        SourceError: There is no such file or folder, or no such kind of source.
    """
    text = os.fspath(source) if isinstance(source, os.PathLike) else str(source).strip()
    if text.isdecimal():
        return Source("camera", int(text), f"camera {int(text)}")
    csi = re.fullmatch(r"csi://(\d+)", text)
    if csi:
        return Source("pipeline", CSI_PIPELINE.format(sensor=csi[1]), text)
    if " ! " in text:
        return Source("pipeline", text, without_password(text))
    scheme, found, _ = text.partition("://")
    if found:
        if scheme.lower() not in STREAMS:
            raise SourceError(f"cannot watch {without_password(text)!r}: give {_KINDS}")
        return Source("stream", text, without_password(text))
    return _file(text)


def _file(text: str) -> Source:
    path = user_path(text, SourceError)
    if not text or not path.exists():
        raise SourceError(f"no such file or folder: {text!r}; the source is {_KINDS}")
    if path.is_dir() or (path.is_file() and is_photo(path.name)):
        return Source("photos", str(path), str(path))
    if stat.S_ISCHR(Path(path).stat().st_mode):
        return Source("camera", str(path), str(path))
    return Source("video", str(path), str(path))


def without_password(address: str) -> str:
    """An address as it may be shown: without the user and password before an @."""
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", address)
