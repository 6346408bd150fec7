"""Which nodes of a graph compute in half precision, and which stay in float32: one table of rules.

A node is told by "<module>/<operator>", which its name is but for the number that makes it unique. The first
rule that matches decides. Accumulation inside a product of half numbers is in float32, on tensor cores and
in the executor that checks the graphs; what counts here is how results are rounded between nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import onnx

from hmdrn_runtime.errors import ExportError

_SMALL = 64
"""Entries of a constant that may be a shape, which types can depend on."""

Precision = Literal["fp32", "fp16"]

FLOAT32_GRAPHS = {
    "solve": "with half products Newton-Schulz stalls near 1 %",
}
"""Graphs that are float32 at every precision, and why."""


@dataclass(frozen=True)
class Rule:
    """What precision some nodes compute in, and why.

    Attributes:
        precision: "fp32" or "fp16".
        nodes: Patterns of "<module>/<operator>", with * for any text.
        reason: Why, for people who read the manifest.
    """

    precision: Precision
    nodes: tuple[str, ...]
    reason: str

    def matches(self, key: str) -> bool:
        """Whether it is for the nodes told by `key`."""
        return any(fnmatchcase(key, pattern) for pattern in self.nodes)


RULES = (
    Rule(
        "fp32",
        ("hmdrn/Cast", "hmdrn/Mul", "hmdrn/Sub"),
        "the pixels' normalisation is exact to the last bit that the network sees",
    ),
    Rule(
        "fp32",
        ("*/LayerNormalization",),
        "the variance squares its input: half overflows above 255",
    ),
    Rule(
        "fp32",
        ("*/Softmax", "reconstruction.*/Div", "reconstruction.*/Add", "reconstruction.*/Where"),
        "a softmax adds exponentials; its scaled and padded input is of the same kind",
    ),
    Rule(
        "fp32",
        tuple(
            f"transformers.*.attention/{op}"
            for op in ("Pow", "ReduceSum", "ReduceMean", "Greater", "Cast", "Mul")
        ),
        "the mask is a step: a rounded score or threshold turns bits over; scores of softmax",
    ),
    Rule(
        "fp32",
        ("transformers.high/Add", "transformers.mid/Add", "transformers.*.layers.?/*"),
        "residual sums carry what every layer adds, and GELU's 1 + erf cancels",
    ),
    Rule(
        "fp32",
        ("gram.*/MatMul",),
        "Gram sums add squares over all tokens; a gallery keeps them for ever",
    ),
    Rule(
        "fp32",
        ("hmdrn/Gemm", "hmdrn/Relu"),
        "matching adds thousands of products that nearly cancel between classes",
    ),
    Rule(
        "fp32",
        ("reconstruction.*/Sub", "reconstruction.*/Pow", "reconstruction.*/ReduceSum", "fusion/*"),
        "distances are differences, squared and summed; their ranking is the answer",
    ),
    Rule(
        "fp16",
        ("backbone.*",),
        "convolutions, and what is between them, are most of the work",
    ),
    Rule(
        "fp16",
        ("transformers.*.attention/MatMul", "reconstruction.*/MatMul"),
        "products of attention",
    ),
    Rule(
        "fp16",
        tuple(
            f"*.{linear}/{op}" for linear in ("qkv", "out", "mlp_in", "mlp_out") for op in ("MatMul", "Add")
        ),
        "linear layers",
    ),
)
"""The table. Every node that computes with real numbers is in it, or cannot be exported in half."""

MOVERS = frozenset(
    ("Concat", "Gather", "GatherElements", "Identity", "Pad", "Reshape", "Shape", "Slice", "Split", "Squeeze")
) | {"Transpose", "Unsqueeze"}
"""Operators that move numbers and compute nothing: they have the precision of what they are given."""


def key_of(node: onnx.NodeProto) -> str:
    """What the rules know a node by."""
    return f"{node.name.rpartition('/')[0]}/{node.op_type}"


def rule_of(node: onnx.NodeProto) -> Rule | None:
    """The rule for a node that has real numbers among its inputs or outputs; None for one that moves them.

    Raises:
        ExportError: The table has no rule for it.
    """
    if (rule := next((rule for rule in RULES if rule.matches(key_of(node))), None)) is not None:
        return rule
    if node.op_type in MOVERS:
        return None
    raise ExportError(
        f"no rule says whether {node.name!r} computes in half: add one to hmdrn_export.precision.rules, "
        "or export with --precision fp32"
    )


def real_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Nodes with real numbers among their inputs or outputs; others count and index."""
    real = set(real_values(model))
    return (node for node in model.graph.node if real & {*node.input, *node.output})


def real_values(model: onnx.ModelProto) -> Iterator[str]:
    """Names of a float32 model's values and constants that hold real numbers."""
    inferred = onnx.shape_inference.infer_shapes(_without_weights(model)).graph
    real = onnx.TensorProto.FLOAT
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        if value.type.tensor_type.elem_type == real:
            yield value.name
    yield from (weight.name for weight in model.graph.initializer if weight.data_type == real)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose large constants are inputs: types follow as well, and nothing large is copied."""
    graph = model.graph
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.node.extend(graph.node)
    bare.graph.input.extend(graph.input)
    bare.graph.output.extend(graph.output)
    for weight in graph.initializer:
        if math.prod(weight.dims) <= _SMALL:
            bare.graph.initializer.append(weight)
        else:
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    return bare


def listed(models: Iterable[onnx.ModelProto], halves: Iterable[onnx.ModelProto]) -> list[dict[str, Any]]:
    """The table as a manifest has it: each rule with the nodes of the models that it decided on.

    Args:
        models: The float32 models.
        halves: What came of them: they tell which of the nodes that only move numbers move float32.
    """
    nodes: Mapping[Rule, dict[str, None]] = {rule: {} for rule in RULES}
    for model in models:
        for node in real_nodes(model):
            if (rule := rule_of(node)) is not None:
                nodes[rule][node.name] = None
    rules: list[dict[str, Any]] = [
        {"precision": rule.precision, "reason": rule.reason, "nodes": sorted(names)}
        for rule, names in nodes.items()
        if names
    ]
    whole = [
        {"precision": "fp32", "reason": reason, "graphs": [name]} for name, reason in FLOAT32_GRAPHS.items()
    ]
    moved = {
        node.name
        for half in halves
        for single in (set(real_values(half)),)
        for node in half.graph.node
        if node.op_type in MOVERS and single & set(node.output)
    }
    reason = "what moves numbers and computes nothing leaves them as they are"
    return [*rules, {"precision": "fp32", "reason": reason, "nodes": sorted(moved)}, *whole]
