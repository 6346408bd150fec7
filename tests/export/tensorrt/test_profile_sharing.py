"""Engines are built so that several threads may run them at once."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from hmdrn_export.tensorrt.builder import BuildOptions, _configure
from hmdrn_export.tensorrt.versions import find_features


@pytest.mark.parametrize(("version", "asked"), [("8.6.1", True), ("10.3.0", False), ("11.4.0", False)])
def test_a_profile_is_shared_by_a_feature_of_8_6_and_by_itself_from_10_on(version, asked):
    trt, builder = MagicMock(), MagicMock()
    builder.create_builder_config().get_flag.return_value = False
    config = _configure(trt, find_features("tensorrt", version), builder, BuildOptions(), lambda *_: None)
    assert config.set_preview_feature.called == asked
    if asked:
        config.set_preview_feature.assert_called_once_with(trt.PreviewFeature.PROFILE_SHARING_0806, True)
