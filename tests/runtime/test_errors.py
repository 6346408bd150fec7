from __future__ import annotations

import inspect

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


def test_a_message_is_printed_unchanged():
    with pytest.raises(HmdrnError, match=r"^no gallery at x: enroll species first$"):
        raise GalleryError("no gallery at x: enroll species first")
