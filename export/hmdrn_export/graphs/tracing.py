"""ONNX graphs of a torch module, with names that a person can read."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx
import torch
from onnx.utils import Extractor

from hmdrn_export.graphs.rewriting import fold_constants, reorder_gelu
from hmdrn_export.graphs.trace_jobs import Subgraph, TraceJob
from hmdrn_runtime.errors import ExportError

OPSET = 18
_ROOT = "hmdrn"
_SCOPES = "pkg.torch.onnx.name_scopes"
_TRACER_SCOPE = "_empty_nn_module_stack"
"""Prefix of the scope of nodes that torch added to a trace itself."""


def trace_graphs(job: TraceJob, metadata: Mapping[str, str]) -> dict[str, onnx.ModelProto]:
    """Trace a module and cut the trace into graphs.

    Returns:
        Checked models of opset 18 by graph name, weights inside, every node and value named after its module,
        each with `metadata`.

    Raises:
        ExportError: The tracer refuses the module, or froze a size that must stay free.
    """
    trace = _trace_module(job)
    fold_constants(trace)
    reorder_gelu(trace.graph)
    _assign_names(trace.graph)
    _check_free_sizes(trace, job)
    models = {}
    for name, subgraph in job.graphs.items():
        model = _extract_subgraph(trace, subgraph)
        model.graph.name = name
        onnx.helper.set_model_props(model, {**metadata, "hmdrn.graph": name})
        onnx.checker.check_model(model, full_check=True)
        models[name] = model
    return models


def _trace_module(job: TraceJob) -> onnx.ModelProto:
    inputs = tuple(job.inputs.values())
    shapes = [{axis: torch.export.Dim(name) for axis, name in job.dynamic[key].items()} for key in job.inputs]
    # Inputs of a forward with *arguments are one tuple to the tracer.
    dynamic = (shapes[0], tuple(shapes[1:])) if len(inputs) > 2 else tuple(shapes)
    with _quiet_tracer():
        try:
            program = torch.onnx.export(
                job.module,
                inputs,
                dynamo=True,
                input_names=list(job.inputs),
                output_names=list(job.outputs),
                dynamic_shapes=dynamic,
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:  # the tracer's errors have no common base class
            raise ExportError(f"{', '.join(job.graphs)} could not be traced: {error}") from error
    assert program is not None
    return program.model_proto


def _extract_subgraph(trace: onnx.ModelProto, subgraph: Subgraph) -> onnx.ModelProto:
    """Return the part of a trace that computes some of its outputs, these renamed."""
    model = Extractor(trace).extract_model(list(subgraph.inputs), list(subgraph.outputs))
    model.producer_name = "hmdrn"
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.input[:] = [subgraph.outputs.get(name, name) for name in node.input]
        node.output[:] = [subgraph.outputs.get(name, name) for name in node.output]
    for value in model.graph.output:
        value.name = subgraph.outputs[value.name]
    return model


@contextmanager
def _quiet_tracer() -> Iterator[None]:
    """Silence the tracer's warnings about optional packages and shared names: users cannot act on them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_free_sizes(model: onnx.ModelProto, job: TraceJob) -> None:
    for value in model.graph.input:
        for axis, name in job.dynamic[value.name].items():
            if not value.type.tensor_type.shape.dim[axis].dim_param:
                raise ExportError(
                    f"the trace of {', '.join(job.graphs)} froze axis {axis} ({name}) of {value.name!r}"
                )


def _assign_names(graph: onnx.GraphProto) -> None:
    """Name nodes "<module>/<operator>", their outputs likewise, and constants after their first reader."""
    renamed: dict[str, str] = {}
    weights = {w.name for w in graph.initializer}
    fixed = {v.name for v in [*graph.input, *graph.output]}
    counts: Counter[str] = Counter()
    for node in graph.node:
        scope = _find_module(node, weights) or _ROOT
        node.name = _make_unique(f"{scope}/{node.op_type}", counts)
        for i, name in enumerate(node.input):
            if name in weights and name not in renamed:
                # Linear layers reach the graph as a product with their transposed weight.
                constant = (
                    f"{scope}.weight.transposed" if node.op_type == "MatMul" else f"{node.name}/input{i}"
                )
                renamed[name] = _weight_path(name) or _make_unique(constant, counts)
        for i, name in enumerate(node.output):
            if name and name not in fixed:
                renamed[name] = node.name if len(node.output) == 1 else f"{node.name}:{i}"
        del node.metadata_props[:]
        node.doc_string = ""
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for weight in graph.initializer:
        weight.name = renamed.get(weight.name, weight.name)
        weight.doc_string = ""
    del graph.value_info[:]  # whoever reads the graph infers shapes between nodes again
    del graph.metadata_props[:]
    for value in [*graph.input, *graph.output]:
        del value.metadata_props[:]


def _find_module(node: onnx.NodeProto, weights: set[str]) -> str | None:
    """Return the path of the module that a node was traced from; None if the tracer does not record it."""
    scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), None)
    if scopes is not None:
        # The last scope is the operation, the one before it the module.
        path = ["", *ast.literal_eval(scopes)][-2]
        return None if str(path).startswith(_TRACER_SCOPE) else str(path).removeprefix("network.") or None
    # Fused operators lose their scopes, but still have the weights of their module.
    paths = (_weight_path(name) for name in node.input if name in weights)
    return next((path.rpartition(".")[0] for path in paths if path), None)


def _weight_path(name: str) -> str | None:
    """Return a weight's name in the network; None for constants that the tracer made."""
    return name.removeprefix("network.") if name.startswith("network.") else None


def _make_unique(name: str, counts: Counter[str]) -> str:
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}_{counts[name]}"
