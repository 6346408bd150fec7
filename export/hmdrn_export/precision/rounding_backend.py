"""Half graphs executed on a CPU with every half result rounded to half.

ONNX Runtime's CPU provider computes half graphs in float32, so its results show rounded weights only. Here a
product of half numbers accumulates in float32 and its result is rounded, as on tensor cores; a result above
65,504 becomes infinite.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnx.utils import Extractor

from hmdrn_export.precision.rules import DATA_MOVEMENT, list_values
from hmdrn_runtime.backends.base import Backend, GraphInputs, GraphOutputs, ResidentArray
from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.device.cpu_limits import count_cores

_LARGEST = "/largest"
"""Suffix of the outputs for a node's largest magnitude."""


def emulate_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 graph that computes like a half graph, by casts of its half results to half and back.

    Args:
        model: Weights inside, float32 inputs and outputs; it is not changed.

    Returns:
        A model with an output "<node>/largest" for each of these results: its largest magnitude, float32 ().
    """
    emulated = onnx.ModelProto()
    emulated.CopyFrom(model)
    graph = emulated.graph
    del graph.node[:], graph.value_info[:]
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            values = onnx.numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    halves = set(list_values(model, TensorProto.FLOAT16))
    for node in model.graph.node:
        copy = graph.node.add()
        copy.CopyFrom(node)
        if node.op_type in DATA_MOVEMENT or halves.isdisjoint(node.output):
            continue
        if node.op_type == "Cast":
            copy.attribute[0].i = TensorProto.FLOAT
        (name,) = node.output
        exact, half, magnitude, largest = (f"{node.name}/{v}" for v in ("exact", "half", "abs", "largest"))
        copy.output[:] = [exact]
        graph.node.extend(
            (
                helper.make_node("Cast", [exact], [half], to=TensorProto.FLOAT16),
                helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT),
                helper.make_node("Abs", [name], [magnitude]),
                helper.make_node("ReduceMax", [magnitude], [largest], keepdims=0),
            )
        )
        graph.output.append(helper.make_tensor_value_info(largest, TensorProto.FLOAT, []))
    return emulated


class RoundingBackend(Backend):
    """A bundle's graphs on the CPU, with every half result rounded to half."""

    name = "onnxruntime on the CPU, rounding to half"

    def __init__(self, bundle: Bundle) -> None:
        self.overflowed: str | None = None
        """Node of a half result that was not finite; None if all were, in every run."""
        self._bundle = bundle
        self._sessions: dict[tuple[str, frozenset[str]], ort.InferenceSession] = {}
        self._lock = threading.Lock()

    def place(self, array: npt.NDArray[np.generic]) -> ResidentArray:
        """Implement `Backend.place` by a copy."""
        owned = np.array(array, order="C")
        return ResidentArray(owned, owned.shape)

    def run(self, graph: str, inputs: GraphInputs) -> GraphOutputs:
        """Implement `Backend.run`; `inputs` may also be intermediate values."""
        arrays = {
            n: array.handle if isinstance(array, ResidentArray) else array for n, array in inputs.items()
        }
        session = self._open_session(graph, frozenset(arrays))
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, arrays), strict=True))
        for name in names:
            if name.endswith(_LARGEST) and not np.isfinite(outputs.pop(name)) and self.overflowed is None:
                self.overflowed = name.removesuffix(_LARGEST)
        return outputs

    def _open_session(self, graph: str, given: frozenset[str]) -> ort.InferenceSession:
        with self._lock:
            if (graph, given) not in self._sessions:
                self._bundle.check_graph(graph)
                model = emulate_half(onnx.load(self._bundle.graph_path(graph)))
                if given - {value.name for value in model.graph.input}:
                    extractor = Extractor(onnx.shape_inference.infer_shapes(model))
                    outputs = [output.name for output in self._bundle.graph(graph).outputs]
                    model = extractor.extract_model(list(given), outputs)
                options = ort.SessionOptions()
                options.intra_op_num_threads = count_cores()
                # Optimizers may remove casts to half and back.
                options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
                self._sessions[graph, given] = ort.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[graph, given]
