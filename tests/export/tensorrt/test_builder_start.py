"""A compiler that does not start says what to look at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hmdrn_export.tensorrt.builder import build_engine
from hmdrn_runtime.errors import BackendError


def test_a_builder_that_is_not_to_be_had_says_what_to_look_at_in_one_line(tmp_path):
    class ILogger:
        ERROR, INTERNAL_ERROR = "ERROR", "INTERNAL_ERROR"

    def no_builder(log):
        log.log("ERROR", "CUDA initialization failure with error: 35\n")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt = SimpleNamespace(__name__="tensorrt", __version__="10.3.0", ILogger=ILogger, Builder=no_builder)
    with pytest.raises(
        BackendError, match=r"failure with error: 35. Check with hmdrn doctor that the NVIDIA driver"
    ) as raised:
        build_engine(trt, tmp_path / "classify.onnx", {})
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
