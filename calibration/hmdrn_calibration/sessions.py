"""ONNX Runtime on graphs that are in memory."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
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


def rest_of(model: onnx.ModelProto, given: Mapping[str, onnx.ValueInfoProto]) -> onnx.ModelProto:
    """What is left to compute of a graph once some values between are known; they become its inputs.

    Args:
        model: The graph, weights inside; it is not changed.
        given: Types of the values by name.
    """
    wanted = {output.name for output in model.graph.output}
    nodes = []
    for node in reversed(model.graph.node):
        if (wanted & set(node.output)) - set(given):
            nodes.append(node)
            wanted.update(node.input)
    kept = [value for value in model.graph.input if value.name in wanted]
    weights = [weight for weight in model.graph.initializer if weight.name in wanted]
    rest = onnx.helper.make_graph(
        nodes[::-1], model.graph.name, [*given.values(), *kept], list(model.graph.output), weights
    )
    return onnx.helper.make_model(rest, opset_imports=model.opset_import, ir_version=model.ir_version)
