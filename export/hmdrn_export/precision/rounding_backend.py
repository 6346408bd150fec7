"""An executor that truly rounds to half, node by node, as the types of a graph say.

ONNX Runtime's CPU provider computes half graphs in float32, so what it gives is of rounded weights only. Here
a product of half numbers is accumulated in float32 and its result rounded, as tensor cores do it; a result
above 65,504 becomes infinite.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from hmdrn_export.precision.rules import MOVERS
from hmdrn_export.precision.torch_operators import OPERATORS
from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError

_TORCH_TYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.BOOL: torch.bool,
}


class RoundingGraph:
    """One graph, run in torch.

    Args:
        model: Weights inside.

    Raises:
        BackendError: It has an operator that our graphs do not have.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.overflowed: str | None = None
        """Node of the first half result that was not finite; None if there was none in any run."""
        unknown = {node.op_type for node in self.graph.node} - set(OPERATORS) - {"Cast"}
        if unknown:
            raise BackendError(f"graph {self.graph.name!r} has operators unknown here: {', '.join(unknown)}")
        self._weights = {
            weight.name: torch.from_numpy(onnx.numpy_helper.to_array(weight).copy())
            for weight in self.graph.initializer
        }
        self._attributes = [
            {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in self.graph.node
        ]

    @torch.inference_mode()
    def run(self, given: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """Compute some values from others.

        Args:
            given: Inputs by name; or any values between, and what leads to them is not computed.
            outputs: Names of the values wanted.
        """
        values = {**self._weights, **given}
        wanted = self._needed(set(given), outputs)
        last = {name: i for i, node in enumerate(self.graph.node) if i in wanted for name in node.input}
        for i in sorted(wanted):
            node = self.graph.node[i]
            results = self._compute(node, self._attributes[i], [values[name] for name in node.input if name])
            values.update(zip(node.output, results, strict=True))
            if self.overflowed is None and any(
                r.dtype == torch.float16 and not r.isfinite().all() for r in results
            ):
                self.overflowed = node.name
            for name in node.input:
                if last[name] == i and name not in outputs:
                    values.pop(name, None)
        return [values[name] for name in outputs]

    def _needed(self, given: set[str], outputs: Sequence[str]) -> set[int]:
        producer = {name: i for i, node in enumerate(self.graph.node) for name in node.output}
        waiting, needed = list(outputs), set[int]()
        while waiting:
            name = waiting.pop()
            if name not in given and name in producer and producer[name] not in needed:
                needed.add(producer[name])
                waiting += self.graph.node[producer[name]].input
        return needed

    @staticmethod
    def _compute(node: onnx.NodeProto, attributes: Mapping[str, Any], x: list[Tensor]) -> tuple[Tensor, ...]:
        if node.op_type == "Cast":
            return (x[0].to(_TORCH_TYPES[attributes["to"]]),)
        half = any(t.dtype == torch.float16 for t in x)
        if half and node.op_type not in MOVERS:
            x = [t.float() if t.dtype == torch.float16 else t for t in x]
        results = OPERATORS[node.op_type](attributes, x)
        results = results if isinstance(results, tuple) else (results,)
        return tuple(r.half() if half and r.dtype == torch.float32 else r for r in results)


class RoundingBackend(Backend):
    """A bundle's graphs in torch on the CPU, with every half result rounded to half.

    Args:
        bundle: What to run.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.name = f"torch {torch.__version__} on the CPU, rounding to half"
        self._bundle = bundle
        self._graphs: dict[str, RoundingGraph] = {}
        self._lock = threading.Lock()

    @property
    def overflowed(self) -> str | None:
        """A node whose half result was not finite; None if all were, in every run."""
        return next((g.overflowed for g in self._graphs.values() if g.overflowed is not None), None)

    def place(self, array: npt.NDArray[Any]) -> Resident:
        """As `Backend.place`: a tensor."""
        return Resident(torch.from_numpy(np.array(array, order="C")), array.shape)

    def run(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> dict[str, npt.NDArray[Any]]:
        """As `Backend.run`; `inputs` may also be values between."""
        given = {
            name: value.handle
            if isinstance(value, Resident)
            else torch.from_numpy(np.array(value, order="C"))
            for name, value in inputs.items()
        }
        names = [output.name for output in self._bundle.graph(graph).outputs]
        results = self._graph(graph).run(given, names)
        return {name: result.numpy() for name, result in zip(names, results, strict=True)}

    def _graph(self, name: str) -> RoundingGraph:
        with self._lock:
            if name not in self._graphs:
                self._bundle.check_graph(name)
                self._graphs[name] = RoundingGraph(onnx.load(self._bundle.graph_path(name)))
            return self._graphs[name]
