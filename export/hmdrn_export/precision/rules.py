"""Rules for the nodes of a graph that compute in half precision, and those that stay in float32.

A node is identified by "<module>/<operator>": its name without the number that makes it unique. The first
matching rule decides. Products of half numbers accumulate in float32, on tensor cores and in the executor
that checks the graphs; the rules are about the rounding of results between nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import onnx

from hmdrn_runtime.errors import ExportError

Precision = Literal["fp32", "fp16"]

FLOAT32_GRAPHS = {"solve": "with half products Newton-Schulz stalls near 1 %"}
"""Graphs that are float32 at every precision, with the reason."""


@dataclass(frozen=True)
class Rule:
    """Precision of some nodes.

    Attributes:
        precision: "fp32" or "fp16".
        nodes: Patterns of "<module>/<operator>", with * for any text.
        reason: For people who read the manifest.
    """

    precision: Precision
    nodes: tuple[str, ...]
    reason: str

    def matches(self, key: str) -> bool:
        """Return True if the rule covers nodes of this `rule_key`."""
        return any(fnmatchcase(key, pattern) for pattern in self.nodes)


RULES = (
    Rule(
        "fp32",
        ("hmdrn/Cast", "hmdrn/Mul", "hmdrn/Sub"),
        "the normalization of pixels is exact to the last bit of the network's input",
    ),
    Rule("fp32", ("*/LayerNormalization",), "the variance squares its input: half overflows above 255"),
    Rule(
        "fp32",
        ("*/Softmax", "reconstruction.*/Div", "reconstruction.*/Add", "reconstruction.*/Where"),
        "a softmax adds exponentials; so does its scaled and padded input",
    ),
    Rule(
        "fp32",
        tuple(
            f"transformers.*.attention/{op}"
            for op in ("Pow", "ReduceSum", "ReduceMean", "Greater", "Cast", "Mul")
        ),
        "the mask is a step: a rounded score or threshold flips bits; scores of softmax",
    ),
    Rule(
        "fp32",
        ("transformers.high/Add", "transformers.mid/Add", "transformers.*.layers.?/*"),
        "residual sums carry what every layer adds, and GELU's 1 + erf cancels",
    ),
    Rule(
        "fp32",
        ("gram.*/MatMul",),
        "Gram sums add squares over all tokens; a gallery stores them permanently",
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
        ("backbone.*", "projections.*"),
        "convolutions, depthwise ones too, and what is between them are most of the work",
    ),
    Rule("fp16", ("transformers.*.attention/MatMul", "reconstruction.*/MatMul"), "products of attention"),
    Rule(
        "fp16",
        tuple(
            f"*.{linear}/{op}" for linear in ("qkv", "out", "mlp_in", "mlp_out") for op in ("MatMul", "Add")
        ),
        "linear layers",
    ),
)
"""Every node that computes with floating-point numbers is covered, or cannot be exported in half."""

_MOVED = "operators that move data and compute nothing keep the precision of their input"

DATA_MOVEMENT = frozenset(
    ("Concat", "Gather", "GatherElements", "Identity", "Pad", "Reshape", "Shape", "Slice", "Split", "Squeeze")
) | {"Transpose", "Unsqueeze"}
"""Operators that move data and compute nothing: they have the precision of their input."""


def rule_key(node: onnx.NodeProto) -> str:
    """Return the "<module>/<operator>" of a node."""
    return f"{node.name.rpartition('/')[0]}/{node.op_type}"


def find_rule(node: onnx.NodeProto) -> Rule | None:
    """Find the rule for a node with floating-point inputs or outputs; None for data movement.

    Raises:
        ExportError: No rule covers the node.
    """
    if (rule := next((rule for rule in RULES if rule.matches(rule_key(node))), None)) is not None:
        return rule
    if node.op_type in DATA_MOVEMENT:
        return None
    raise ExportError(
        f"no rule says whether {node.name!r} computes in half: add one to hmdrn_export.precision.rules, "
        "or export with --precision fp32"
    )


def list_values(model: onnx.ModelProto, element_type: int = onnx.TensorProto.FLOAT) -> Iterator[str]:
    """List the values and constants of a model with elements of a type."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        if value.type.tensor_type.elem_type == element_type:
            yield value.name
    yield from (w.name for w in model.graph.initializer if w.data_type == element_type)


def describe_rules(
    models: Iterable[onnx.ModelProto], halves: Iterable[onnx.ModelProto]
) -> list[dict[str, Any]]:
    """Describe the rules for a manifest, each with the nodes of the models that it covers.

    Args:
        models: The float32 models.
        halves: Their half twins, which show the data movement that stays float32.
    """
    nodes: dict[Rule, set[str]] = {rule: set() for rule in RULES}
    for model in models:
        floats = set(list_values(model))
        for node in model.graph.node:
            if floats & {*node.input, *node.output} and (rule := find_rule(node)) is not None:
                nodes[rule].add(node.name)
    moved: set[str] = set()
    for half in halves:
        floats = set(list_values(half))
        moved |= {n.name for n in half.graph.node if n.op_type in DATA_MOVEMENT and floats & set(n.output)}
    return [
        *(
            {"precision": rule.precision, "reason": rule.reason, "nodes": sorted(names)}
            for rule, names in nodes.items()
            if names
        ),
        {"precision": "fp32", "reason": _MOVED, "nodes": sorted(moved)},
        *({"precision": "fp32", "reason": reason, "graphs": [n]} for n, reason in FLOAT32_GRAPHS.items()),
    ]
