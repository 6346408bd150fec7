"""Engines are built so that several threads may run them at once, if the compiler supports it."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from hmdrn_export.tensorrt.builder import BuildOptions, _configure
from hmdrn_export.tensorrt.versions import find_features
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform


@pytest.mark.parametrize(
    ("version", "asked", "single_context"),
    [("8.5.3", False, True), ("8.6.1", True, False), ("10.3.0", False, False), ("11.4.0", False, False)],
)
def test_a_profile_is_shared_by_a_feature_of_8_6_and_by_itself_from_10_on(version, asked, single_context):
    trt, builder = MagicMock(), MagicMock()
    builder.create_builder_config().get_flag.return_value = False
    features = find_features("tensorrt", version)
    config = _configure(trt, features, builder, BuildOptions(), lambda *_: None)
    assert config.set_preview_feature.called == asked
    if asked:
        config.set_preview_feature.assert_called_once_with(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    here = Platform("stand-in", "0.0", f"tensorrt {version}", None)
    options = {"profile_sharing": features.profile_sharing}
    assert Fingerprint(here, "fp32", "fp32", {}, options, {}).single_context == single_context


def test_engines_of_8_6_without_profile_sharing_admit_one_context():
    here = Platform("stand-in", "0.0", "tensorrt 8.6.1", None)
    assert Fingerprint(here, "fp32", "fp32", {}, {"tf32": False}, {}).single_context
