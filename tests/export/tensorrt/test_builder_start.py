"""A compiler that does not start says what to look at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hmdrn_export.tensorrt.builder import build_engine
from hmdrn_runtime.errors import BackendError, GraphRefusedError

WORDS = [
    ("[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (no further)", BackendError),
    ("Error Code 1: Cuda Runtime (an illegal memory access was encountered)", BackendError),
    ("Error Code 1: Cuda Driver (invalid device context)", BackendError),
    ("std::bad_alloc", BackendError),
    (
        "Error Code 10: Internal Error (Could not find any implementation for node MatMul_3.)",
        GraphRefusedError,
    ),
    ("Error Code 9: API Usage Error (constant memory of ONNX node is of another type)", GraphRefusedError),
]


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


@pytest.mark.parametrize(("words", "kind"), WORDS)
def test_a_lack_of_memory_or_a_failed_gpu_refuses_no_graph(words, kind, tmp_path):
    class ILogger:
        ERROR, INTERNAL_ERROR = "ERROR", "INTERNAL_ERROR"

    def open_parser(network, log):
        parse = lambda path: log.log("ERROR", words)  # noqa: E731
        return SimpleNamespace(parse_from_file=parse, num_errors=0)

    trt = SimpleNamespace(
        __name__="tensorrt",
        __version__="10.3.0",
        ILogger=ILogger,
        Builder=lambda log: SimpleNamespace(create_network=lambda flags: None),
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1),
        OnnxParser=open_parser,
    )
    with pytest.raises(BackendError, match="could not parse") as raised:
        build_engine(trt, tmp_path / "classify.onnx", {})
    assert type(raised.value) is kind
    assert words in str(raised.value)
