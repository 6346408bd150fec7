from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from hmdrn_runtime import errors
from hmdrn_runtime.errors import (
    BackendError,
    BundleError,
    EnrollmentError,
    GalleryError,
    HmdrnError,
    ImageError,
    MissingDependencyError,
    VerificationError,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_the_module_holds_the_errors_that_the_sdk_promises():
    assert {BackendError, BundleError, EnrollmentError, GalleryError, ImageError, VerificationError} < set(
        ALL
    )


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_one_except_clause_catches_every_error_of_the_sdk(kind):
    assert issubclass(kind, HmdrnError)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_exit_code_is_3_for_a_missed_limit_and_2_otherwise(kind):
    assert kind.exit_code == (3 if kind is VerificationError else 2)


def test_an_enrollment_error_is_a_gallery_error():
    assert issubclass(EnrollmentError, GalleryError)
    assert not issubclass(GalleryError, EnrollmentError)
    assert not issubclass(ImageError, GalleryError)
    assert not issubclass(BundleError, GalleryError)


def test_a_missing_package_is_named_with_its_install_command():
    error = MissingDependencyError("onnx", "exporting a model", "export")
    assert str(error) == (
        "exporting a model needs the package 'onnx', which is not installed: "
        "install hmdrn's extra 'export' (from a checkout: pip install '.[export]')"
    )
    assert (error.package, error.extra) == ("onnx", "export")


def test_a_package_that_is_broken_is_not_said_to_be_missing():
    error = MissingDependencyError("onnx", "exporting a model", "export", "libc.so.6 is too old")
    assert str(error) == (
        "exporting a model needs the package 'onnx', which cannot be imported: libc.so.6 is too old"
    )


def test_a_message_is_printed_unchanged():
    with pytest.raises(HmdrnError, match=r"^no gallery at x: enroll species first$"):
        raise GalleryError("no gallery at x: enroll species first")


class OwnError(HmdrnError):
    """An error of someone else's, whose constructor takes no text."""

    def __init__(self, *, count: int, unit: str) -> None:
        super().__init__(f"{count} {unit} are too many")
        self.count = count


def _examples():
    yield MissingDependencyError("onnx", "exporting a model", "export")
    yield OwnError(count=3, unit="photos")
    for kind in ALL:
        if kind is not MissingDependencyError:
            yield kind("no gallery at ßäé 鳥.gallery: enroll first")


@pytest.mark.parametrize("error", list(_examples()), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "copied",
    [
        *(
            lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_an_error_survives_pickle_and_copy_with_text_and_attributes(error, copied):
    error.path = "site7.gallery"
    again = copied(error)
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
    assert again.exit_code == error.exit_code


def test_every_error_of_the_project_can_be_restored_without_its_constructor():
    def descend(kind):
        for child in kind.__subclasses__():
            yield child
            yield from descend(child)

    for kind in descend(HmdrnError):
        error = kind.__new__(kind, "text")
        assert str(pickle.loads(pickle.dumps(error))) == "text", kind
