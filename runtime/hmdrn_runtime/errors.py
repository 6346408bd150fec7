"""Errors of the SDK.

Every message says what is wrong, with the offending value, and what to do about it. The command line
prints one of these as one line on standard error and exits with its `exit_code`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not of `typing`, whose import would take longer than this module
if TYPE_CHECKING:
    from typing import Any


class HmdrnError(Exception):
    """Base of every error that the SDK raises on purpose.

    Attributes:
        exit_code: The exit code of a command that raises it: 1 for a bug in hmdrn, 2 for the user's input
            or environment, 3 for a missed verification, accuracy or latency limit.

    Examples:
        >>> try:
        ...     hmdrn.load("nowhere.hmdrn")
        ... except hmdrn.HmdrnError as error:
        ...     code = error.exit_code
        >>> code
        2
    """

    exit_code: int = 2

    def __init__(self, *arguments: object) -> None:
        from hmdrn_runtime.credentials import mask_secrets  # when there is something to report

        super().__init__(*(mask_secrets(a) if isinstance(a, str) else a for a in arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the class is called with the text, which one with other parameters refuses.
        return _restore_error, (type(self), self.args), self.__dict__ or None


def _restore_error(kind: type[HmdrnError], arguments: tuple[Any, ...]) -> HmdrnError:
    return kind.__new__(kind, *arguments)


class ImageError(HmdrnError):
    """An image that cannot be read, or that the network cannot use.

    Examples:
        >>> hmdrn.load("default", gallery="site7.gallery").classify("missing.jpg")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.ImageError: ...
    """


class DatasetError(HmdrnError):
    """A folder or zip of photos whose layout the SDK does not know, or that holds too few photos.

    Examples:
        >>> hmdrn.open_dataset("missing.zip")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.DatasetError: ...
    """


class BundleError(HmdrnError):
    """A bundle that is missing, incomplete, altered, or made for another version.

    Examples:
        >>> hmdrn.load("missing.hmdrn")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.BundleError: ...
    """


class GalleryError(HmdrnError):
    """A gallery that cannot be read, written or changed as requested.

    Examples:
        >>> hmdrn.load_gallery("missing.gallery")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.GalleryError: ...
    """


class EnrollmentError(GalleryError):
    """Photos that cannot become a class: no photo, a bad label, a solve that did not converge.

    Examples:
        >>> hmdrn.load("default").enroll("", ["a.jpg"])
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.EnrollmentError: ...
    """


class FrameDroppedError(HmdrnError):
    """A frame of a live source that newer frames replaced before it was classified.

    Examples:
        >>> issubclass(hmdrn.FrameDroppedError, hmdrn.HmdrnError)
        True
    """


class SourceError(HmdrnError):
    """A camera, stream or video that cannot be watched.

    Examples:
        >>> list(hmdrn.watch("default", "missing.mp4", gallery="site7.gallery"))
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.SourceError: ...
    """


class BackendError(HmdrnError):
    """A backend (ONNX Runtime, TensorRT) that is missing or cannot run a graph.

    Examples:
        >>> hmdrn.load("default", backend="abacus")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.BackendError: ...
    """


class GraphRefusedError(BackendError):
    """A graph that a compiler does not take in the way that it was given: another way or precision may do.

    Examples:
        >>> issubclass(hmdrn.GraphRefusedError, hmdrn.BackendError)
        True
    """


class WrongEnginesError(BackendError):
    """Engines that a compiler made, whose answers differ from the bundle's by more than their tolerances.

    Examples:
        >>> issubclass(hmdrn.WrongEnginesError, hmdrn.BackendError)
        True
    """


class CheckpointError(HmdrnError):
    """Trained weights that cannot be read, or that are not those of an HMDRN.

    Examples:
        >>> hmdrn.load_checkpoint("missing.safetensors")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.CheckpointError: ...
    """


class ExportError(HmdrnError):
    """An export that cannot be done as requested.

    Examples:
        >>> hmdrn.export_bundle(hmdrn.load_checkpoint("birds.safetensors"), "out.hmdrn", precision="fp4")
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.ExportError: ...
    """


class TrainingError(HmdrnError):
    """A training run that cannot start or continue.

    Examples:
        >>> hmdrn.TrainingConfig(way=0)
        Traceback (most recent call last):
            ...
        hmdrn_runtime.errors.TrainingError: ...
    """


class VerificationError(HmdrnError):
    """An exported bundle whose results differ from the network's by more than its tolerance.

    Examples:
        >>> hmdrn.VerificationError("the graphs differ").exit_code
        3
    """

    exit_code = 3


def format_install_hint(extra: str) -> str:
    """Return the instruction to install an extra; it names no package index, since hmdrn may be on none."""
    return f"install hmdrn's extra {extra!r} (from a checkout: pip install '.[{extra}]')"


class MissingDependencyError(HmdrnError):
    """A package of an optional part of the SDK that is not installed, or that cannot be imported.

    Examples:
        >>> hmdrn.MissingDependencyError("scipy", "reading MATLAB files", "train").package
        'scipy'
    """

    def __init__(self, package: str, purpose: str, extra: str, problem: str = "") -> None:
        reason = (
            f"cannot be imported: {problem}" if problem else f"is not installed: {format_install_hint(extra)}"
        )
        super().__init__(f"{purpose} needs the package {package!r}, which {reason}")
        self.package = package
        self.extra = extra
