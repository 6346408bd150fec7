"""ONNX Runtime on graphs in memory, and parts of such graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
from onnx.utils import Extractor

from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.device.cpu_limits import count_cores

_ERROR_SEVERITY = 3


def open_session(
    model: onnx.ModelProto, threads: int | None = None, integer_kernels: bool = True
) -> ort.InferenceSession:
    """Open a graph on the CPU.

    Args:
        model: The graph, weights inside.
        threads: CPU threads; all cores if None.
        integer_kernels: Compute quantized operators in integers where there are kernels for them. If False,
            round to the grid and compute in float32, which imitates an engine without CPU kernels.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERROR_SEVERITY
    options.intra_op_num_threads = threads or count_cores()
    if not integer_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def extract_outputs(model: onnx.ModelProto, outputs: Iterable[str]) -> onnx.ModelProto:
    """Return the part of a graph of photos that computes some of its tensors."""
    return Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(["images"], list(outputs))


def extract_tail(
    model: onnx.ModelProto, given: Mapping[str, onnx.ValueInfoProto], others: Iterable[str]
) -> onnx.ModelProto:
    """Return the part of a graph that computes its outputs from some intermediate tensors.

    Args:
        model: The graph, weights inside; it is not changed.
        given: Types of the intermediate tensors by name; they become inputs.
        others: Inputs that the part needs besides.
    """
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    typed.graph.value_info.extend(given.values())  # inferred shapes lack them
    return Extractor(typed).extract_model([*given, *others], [output.name for output in model.graph.output])
