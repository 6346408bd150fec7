"""OpenCV, imported when a source needs it."""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

import numpy as np

from hmdrn_runtime.errors import MissingDependencyError
from hmdrn_runtime.io.json_document import is_encodable
from hmdrn_runtime.messages import format_error

READER_THREAD_NAME = "hmdrn-watch"
"""The name of the threads that read sources, some of which may hang in a driver."""


def open_cv2(purpose: str) -> Any:
    """Import cv2 so that it does not write to standard error: our messages report what fails.

    Args:
        purpose: The task that needs it, for the message, e.g. "watching a camera".

    Raises:
        MissingDependencyError: OpenCV is not installed, or cannot be imported.
    """
    # Both are read once, when the library is loaded; the user's settings stay.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return importlib.import_module("cv2")
    except Exception as error:  # an extension compiled for another NumPy raises more than ImportError
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == "cv2"
        problem = "" if is_missing else explain_import_error(error)
        raise MissingDependencyError("opencv-python-headless", purpose, "camera", problem) from error


def explain_import_error(error: Exception) -> str:
    """Return the reason why a package cannot be imported, with advice if it was compiled for NumPy 1."""
    reason = format_error(error)
    if np.__version__.startswith("1.") or not re.search(r"numpy|multiarray|_ARRAY_API", str(error)):
        return reason
    return (
        f"{reason}; it was compiled for NumPy 1, and this is NumPy {np.__version__}: in the virtual "
        "environment run pip install 'numpy<2'"
    )


def encode_name(name: str) -> str | bytes:
    """Return a file's name or address for OpenCV, which crashes on a text with undecodable bytes."""
    return name if is_encodable(name) else os.fsencode(name)


def has_gstreamer(cv2: Any) -> bool:
    """Return whether this build of OpenCV can run GStreamer pipelines; PyPI's packages cannot."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def has_windows(cv2: Any) -> bool:
    """Return whether this build of OpenCV can show a window; a headless one cannot."""
    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    return not any(line[:2] == ["GUI:", "NONE"] for line in lines)
