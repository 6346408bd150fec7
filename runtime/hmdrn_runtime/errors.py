"""The one tree of errors of the SDK.

Every message says what is wrong, with the value that was found, and what to do about it. The command
line turns any of these into one line on standard error and the error's `exit_code`.
"""

from __future__ import annotations


class HmdrnError(Exception):
    """Base of every error that the SDK raises on purpose.

    `exit_code` is what a command ends with: 1 a fault of ours, 2 the user's input or environment,
    3 a verification, accuracy or latency limit that was missed.
    """

    exit_code: int = 2


class ImageError(HmdrnError):
    """An image that cannot be read, or that is not what the network can look at."""


class DatasetError(HmdrnError):
    """A folder or zip of photographs that is not laid out as the SDK expects, or holds too little."""


class BundleError(HmdrnError):
    """A bundle that is missing, incomplete, altered, or made for another version."""


class GalleryError(HmdrnError):
    """A gallery that cannot be read, written or changed as asked."""


class EnrollmentError(GalleryError):
    """Photos that cannot become a class: no photo, a bad label, a solve that did not converge."""


class FrameDroppedError(HmdrnError):
    """A frame of a live source that gave way to newer ones before its turn came."""


class SourceError(HmdrnError):
    """A camera, stream or video that cannot be watched."""


class BackendError(HmdrnError):
    """An executor (ONNX Runtime, TensorRT) that is missing or cannot run a graph."""


class CheckpointError(HmdrnError):
    """Trained weights that cannot be read, or that do not make up an HMDRN."""


class ExportError(HmdrnError):
    """An export that cannot be done as asked."""


class TrainingError(HmdrnError):
    """A training run that cannot start or go on."""


class VerificationError(HmdrnError):
    """An exported bundle whose results differ from the network's by more than its tolerance."""

    exit_code = 3


def how_to_install(extra: str) -> str:
    """What to do where an extra is missing; hmdrn itself is not promised to be on any package index."""
    return f"install hmdrn's extra {extra!r} (from a checkout: pip install '.[{extra}]')"


class MissingDependencyError(HmdrnError):
    """A package that an optional part of the SDK needs and that is not installed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: {how_to_install(extra)}"
        )
        self.package = package
        self.extra = extra
