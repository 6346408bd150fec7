"""OpenCV, imported when a source needs it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from hmdrn_runtime.errors import MissingDependencyError


def open_cv2(purpose: str) -> Any:
    """The module cv2, kept from writing to standard error: what it finds wrong is told in our words.

    Args:
        purpose: What needs it, for the message, e.g. "watching a camera".

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    # Both are read once, when the library is loaded; what the user has set is left.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingDependencyError("opencv-python-headless", purpose, "camera") from error


def has_gstreamer(cv2: Any) -> bool:
    """Whether this build of OpenCV can run GStreamer pipelines; the packages of PyPI cannot."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def has_windows(cv2: Any) -> bool:
    """Whether this build of OpenCV can show a window; a headless one cannot."""
    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    return not any(line[:2] == ["GUI:", "NONE"] for line in lines)
