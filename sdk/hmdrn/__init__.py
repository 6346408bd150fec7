"""hmdrn: few-shot fine-grained recognition on edge devices.

import hmdrn
birds = hmdrn.load("default")
birds.enroll("Sooty Albatross", ["a.jpg", "b.jpg"])
print(birds.classify("c.jpg").label)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hmdrn.loading import load as load
    from hmdrn.watching.frames import Frame as Frame
    from hmdrn.watching.results import Sighting as Sighting
    from hmdrn.watching.results import SourceEvent as SourceEvent
    from hmdrn.watching.results import WatchResult as WatchResult
    from hmdrn.watching.smoothing import Smoothed as Smoothed
    from hmdrn.watching.smoothing import Smoothing as Smoothing
    from hmdrn.watching.summary import Summary as Summary
    from hmdrn.watching.watch import Watch as Watch
    from hmdrn.watching.watch import watch as watch
    from hmdrn_runtime.bundle.bundle import Bundle as Bundle
    from hmdrn_runtime.enrollment.report import EnrollmentReport as EnrollmentReport
    from hmdrn_runtime.errors import BackendError as BackendError
    from hmdrn_runtime.errors import BundleError as BundleError
    from hmdrn_runtime.errors import CheckpointError as CheckpointError
    from hmdrn_runtime.errors import DatasetError as DatasetError
    from hmdrn_runtime.errors import EnrollmentError as EnrollmentError
    from hmdrn_runtime.errors import ExportError as ExportError
    from hmdrn_runtime.errors import FrameDroppedError as FrameDroppedError
    from hmdrn_runtime.errors import GalleryError as GalleryError
    from hmdrn_runtime.errors import HmdrnError as HmdrnError
    from hmdrn_runtime.errors import ImageError as ImageError
    from hmdrn_runtime.errors import MissingDependencyError as MissingDependencyError
    from hmdrn_runtime.errors import SourceError as SourceError
    from hmdrn_runtime.errors import TrainingError as TrainingError
    from hmdrn_runtime.errors import VerificationError as VerificationError
    from hmdrn_runtime.explanation import Explanation as Explanation
    from hmdrn_runtime.gallery.file import edit_gallery as edit_gallery
    from hmdrn_runtime.gallery.file import load_gallery as load_gallery
    from hmdrn_runtime.gallery.gallery import Gallery as Gallery
    from hmdrn_runtime.live_worker import LiveWorker as LiveWorker
    from hmdrn_runtime.prediction import Match as Match
    from hmdrn_runtime.prediction import Prediction as Prediction
    from hmdrn_runtime.recognizer import Recognizer as Recognizer

    __version__: str

_ERRORS = (
    "BackendError",
    "BundleError",
    "CheckpointError",
    "DatasetError",
    "EnrollmentError",
    "ExportError",
    "FrameDroppedError",
    "GalleryError",
    "HmdrnError",
    "ImageError",
    "MissingDependencyError",
    "SourceError",
    "TrainingError",
    "VerificationError",
)
# Loaded when first asked for: importing the package costs a robot's start-up next to nothing.
_HOMES = {
    "load": "hmdrn.loading",
    "Frame": "hmdrn.watching.frames",
    **dict.fromkeys(("Watch", "watch"), "hmdrn.watching.watch"),
    **dict.fromkeys(("Sighting", "SourceEvent", "WatchResult"), "hmdrn.watching.results"),
    **dict.fromkeys(("Smoothed", "Smoothing"), "hmdrn.watching.smoothing"),
    "Summary": "hmdrn.watching.summary",
    "Bundle": "hmdrn_runtime.bundle.bundle",
    **dict.fromkeys(_ERRORS, "hmdrn_runtime.errors"),
    "Explanation": "hmdrn_runtime.explanation",
    "Gallery": "hmdrn_runtime.gallery.gallery",
    "edit_gallery": "hmdrn_runtime.gallery.file",
    "load_gallery": "hmdrn_runtime.gallery.file",
    "LiveWorker": "hmdrn_runtime.live_worker",
    "EnrollmentReport": "hmdrn_runtime.enrollment.report",
    "Match": "hmdrn_runtime.prediction",
    "Prediction": "hmdrn_runtime.prediction",
    "Recognizer": "hmdrn_runtime.recognizer",
}

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "CheckpointError",
    "DatasetError",
    "EnrollmentError",
    "EnrollmentReport",
    "Explanation",
    "ExportError",
    "Frame",
    "FrameDroppedError",
    "Gallery",
    "GalleryError",
    "HmdrnError",
    "ImageError",
    "LiveWorker",
    "Match",
    "MissingDependencyError",
    "Prediction",
    "Recognizer",
    "Sighting",
    "Smoothed",
    "Smoothing",
    "SourceError",
    "SourceEvent",
    "Summary",
    "TrainingError",
    "VerificationError",
    "Watch",
    "WatchResult",
    "__version__",
    "edit_gallery",
    "load",
    "load_gallery",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hmdrn")
    if name not in _HOMES:
        raise AttributeError(f"module 'hmdrn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
