"""Quantization candidates: graphs in memory, run as a recognizer would run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hmdrn_calibration.quantization.ort_session import extract_tail, open_session
from hmdrn_runtime.backends.base import Backend, GraphInputs, GraphOutputs, ResidentArray
from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.recognizer import Recognizer


class InMemoryBackend(Backend):
    """Runs a bundle with some of its graphs replaced.

    Args:
        models: Replaced graphs by name, weights inside.
        others: Runs all other graphs.
        threads: CPU threads; all cores if None.
        integer_kernels: See `open_session`.
    """

    name = "onnxruntime"

    def __init__(
        self,
        models: Mapping[str, onnx.ModelProto],
        others: Backend,
        threads: int | None = None,
        integer_kernels: bool = True,
    ) -> None:
        self._models, self._others = models, others
        self._threads, self._integer_kernels = threads, integer_kernels
        self._sessions: dict[tuple[str, frozenset[str]], ort.InferenceSession] = {}

    def place(self, array: npt.NDArray[Any]) -> ResidentArray:
        """Implement `Backend.place` by a copy."""
        owned = np.array(array, order="C")
        return ResidentArray(owned, owned.shape)

    def run(self, graph: str, inputs: GraphInputs) -> GraphOutputs:
        """Implement `Backend.run`; `inputs` may also be intermediate tensors that another graph returns."""
        arrays = {
            n: array.handle if isinstance(array, ResidentArray) else array for n, array in inputs.items()
        }
        if graph not in self._models:
            return self._others.run(graph, arrays)
        session = self._open_session(graph, frozenset(arrays))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, arrays), strict=True))

    def _open_session(self, graph: str, given: frozenset[str]) -> ort.InferenceSession:
        if (graph, given) not in self._sessions:
            model = self._models[graph]
            between = given - {value.name for value in model.graph.input}
            if between:
                types = {value.name: value for other in self._models.values() for value in other.graph.output}
                model = extract_tail(model, {name: types[name] for name in sorted(between)}, given - between)
            self._sessions[graph, given] = open_session(model, self._threads, self._integer_kernels)
        return self._sessions[graph, given]


def make_recognizer(bundle: Bundle, backend: Backend, variant: str) -> Recognizer:
    """Return a recognizer of graphs that are not in the bundle; its photos are marked with their variant."""
    return Recognizer(replace(bundle, variant=variant), backend)
