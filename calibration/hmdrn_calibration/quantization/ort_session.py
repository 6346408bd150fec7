"""ONNX Runtime on graphs that are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
import onnx.utils
import onnxruntime as ort

_ERROR_SEVERITY = 3


def open_session(
    model: onnx.ModelProto, threads: int | None = None, integer_kernels: bool = True
) -> ort.InferenceSession:
    """A session of a graph on the CPU.

    Args:
        model: The graph, weights inside.
        threads: CPU threads; all cores if None.
        integer_kernels: Compute quantised operators in integers where there are kernels for them; else round
            to the grid and compute in float32, as an engine for which there is no CPU kernel is imitated.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERROR_SEVERITY
    if threads is not None:
        options.intra_op_num_threads = threads
    if not integer_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def rest_of(
    model: onnx.ModelProto, given: Mapping[str, onnx.ValueInfoProto], others: Iterable[str]
) -> onnx.ModelProto:
    """What is left to compute of a graph once some values between are known; they become its inputs.

    Args:
        model: The graph, weights inside; it is not changed.
        given: Types of the values by name.
        others: The inputs that it still takes.
    """
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    typed.graph.value_info.extend(given.values())  # inferred shapes lack them
    outputs = [output.name for output in model.graph.output]
    return onnx.utils.Extractor(typed).extract_model([*given, *others], outputs)
