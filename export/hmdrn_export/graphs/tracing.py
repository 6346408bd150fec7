"""From a torch module to ONNX graphs whose names a person can read."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx
import torch

from hmdrn_export.graphs.constant_folding import fold_constants
from hmdrn_export.graphs.gelu import reorder_gelu
from hmdrn_export.graphs.modules import Cut, Trace
from hmdrn_runtime.errors import ExportError

OPSET = 18
_ROOT = "hmdrn"
_SCOPES = "pkg.torch.onnx.name_scopes"
_NOWHERE = "_empty_nn_module_stack"
"""How the scope begins of what torch added to a trace itself."""


def trace(job: Trace, metadata: Mapping[str, str]) -> dict[str, onnx.ModelProto]:
    """Trace a module and cut it into graphs.

    Args:
        job: What to trace.
        metadata: Entries for every model's metadata.

    Returns:
        Checked models of opset 18 by graph name, weights inside, every node and value named after the
        module it is of.

    Raises:
        ExportError: The tracer refuses the module, or froze a size that must stay free.
    """
    whole = _trace_whole(job)
    fold_constants(whole)
    reorder_gelu(whole.graph)
    _give_names(whole.graph)
    _check_free_sizes(whole, job)
    models = {}
    for name, cut in job.cuts.items():
        model = onnx.ModelProto(
            ir_version=whole.ir_version, opset_import=whole.opset_import, producer_name="hmdrn"
        )
        model.graph.CopyFrom(_cut_out(whole.graph, cut))
        model.graph.name = name
        onnx.helper.set_model_props(model, {**metadata, "hmdrn.graph": name})
        onnx.checker.check_model(model, full_check=True)
        models[name] = model
    return models


def _trace_whole(job: Trace) -> onnx.ModelProto:
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
        except Exception as error:  # the tracer's errors share no base
            raise ExportError(f"{', '.join(job.cuts)} could not be traced: {error}") from error
    assert program is not None
    return program.model_proto


def _cut_out(graph: onnx.GraphProto, cut: Cut) -> onnx.GraphProto:
    """The part of a graph that some of its outputs need."""
    producer = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    waiting = list(cut.outputs)
    while waiting:
        value = waiting.pop()
        if value and value not in needed:
            needed.add(value)
            waiting += producer[value].input if value in producer else []
    part = onnx.GraphProto(
        node=[node for node in graph.node if needed & set(node.output)],
        initializer=[weight for weight in graph.initializer if weight.name in needed],
        input=[value for value in graph.input if value.name in cut.inputs],
        output=[value for value in graph.output if value.name in cut.outputs],
    )
    for node in part.node:
        node.input[:] = [cut.outputs.get(name, name) for name in node.input]
        node.output[:] = [cut.outputs.get(name, name) for name in node.output]
    for value in part.output:
        value.name = cut.outputs[value.name]
    return part


@contextmanager
def _quiet_tracer() -> Iterator[None]:
    """The tracer warns of packages that it could use and of shared names; nothing that a user can act on."""
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


def _check_free_sizes(model: onnx.ModelProto, job: Trace) -> None:
    for value in model.graph.input:
        for axis, name in job.dynamic[value.name].items():
            if not value.type.tensor_type.shape.dim[axis].dim_param:
                raise ExportError(
                    f"the trace of {', '.join(job.cuts)} froze axis {axis} ({name}) of {value.name!r}"
                )


def _give_names(graph: onnx.GraphProto) -> None:
    """Name nodes "<module>/<operator>", their outputs likewise, and constants after their first user."""
    renamed: dict[str, str] = {}
    weights = {w.name for w in graph.initializer}
    fixed = {v.name for v in [*graph.input, *graph.output]}
    taken: Counter[str] = Counter()
    for node in graph.node:
        scope = _module_of(node, weights) or _ROOT
        node.name = _unique(f"{scope}/{node.op_type}", taken)
        for i, name in enumerate(node.input):
            if name in weights and name not in renamed:
                own = _weight_path(name)
                # Linear layers reach the graph as a product with their transposed weight.
                constant = (
                    f"{scope}.weight.transposed" if node.op_type == "MatMul" else f"{node.name}/input{i}"
                )
                renamed[name] = own or _unique(constant, taken)
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
    del graph.value_info[:]  # shapes between nodes are inferred again by whoever reads the graph
    del graph.metadata_props[:]
    for value in [*graph.input, *graph.output]:
        del value.metadata_props[:]


def _module_of(node: onnx.NodeProto, weights: set[str]) -> str | None:
    """Path of the module that a node was traced from; None if the tracer does not say."""
    scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), None)
    if scopes is not None:
        # The last scope is the operation, the one before it the module.
        path = ["", *ast.literal_eval(scopes)][-2]
        return None if str(path).startswith(_NOWHERE) else str(path).removeprefix("network.") or None
    # Fused operators lose their scopes, but still have the weights of their module.
    own = next((path for name in node.input if name in weights and (path := _weight_path(name))), None)
    return own.rpartition(".")[0] if own else None


def _weight_path(name: str) -> str | None:
    """The weight's name in the network; None for constants that the tracer made."""
    return name.removeprefix("network.") if name.startswith("network.") else None


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"
