"""Graphs that are in memory, as a recognizer would run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from hmdrn_calibration.quantization.ort_session import open_session, rest_of
from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.recognizer import Recognizer


class CandidateBackend(Backend):
    """Runs a bundle with some of its graphs replaced.

    Args:
        models: The graphs in place of the bundle's, weights inside.
        others: Runs all other graphs.
        threads: CPU threads; all cores if None.
        integer_kernels: As for `open_session`.
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

    def place(self, array: npt.NDArray[Any]) -> Resident:
        """As `Backend.place`: a copy."""
        owned = np.array(array, order="C")
        return Resident(owned, owned.shape)

    def run(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> dict[str, npt.NDArray[Any]]:
        """As `Backend.run`; `inputs` may also be what another graph makes on the way to the same outputs."""
        arrays = {
            name: value.handle if isinstance(value, Resident) else value for name, value in inputs.items()
        }
        if graph not in self._models:
            return self._others.run(graph, arrays)
        session = self._session(graph, frozenset(arrays))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, arrays), strict=True))

    def _session(self, graph: str, given: frozenset[str]) -> ort.InferenceSession:
        if (graph, given) not in self._sessions:
            model = self._models[graph]
            between = given - {value.name for value in model.graph.input}
            if between:
                made = {value.name: value for other in self._models.values() for value in other.graph.output}
                model = rest_of(model, {name: made[name] for name in sorted(between)}, given - between)
            self._sessions[graph, given] = open_session(model, self._threads, self._integer_kernels)
        return self._sessions[graph, given]


def recognizer(bundle: Bundle, backend: Backend, variant: str) -> Recognizer:
    """A recognizer of graphs that are not in the bundle yet; its photos are marked with their variant."""
    return Recognizer(replace(bundle, variant=variant), backend)
