"""ONNX Runtime, on the CPU unless a provider of another kind is asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError

_ERROR_SEVERITY = 3


class OnnxRuntimeBackend(Backend):
    """Sessions of a bundle's graphs, each made when first asked for.

    Args:
        bundle: What to run.
        threads: CPU threads for one call; all cores if None.
    """

    name = "onnxruntime"
    providers: tuple[str | tuple[str, dict[str, str]], ...] = ("CPUExecutionProvider",)
    """What a session is to run on, best first."""
    device = "cpu"
    """Where arrays are placed, as ONNX Runtime calls it."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._bundle = bundle
        self._threads = threads
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()

    def place(self, array: npt.NDArray[Any]) -> Resident:
        """As `Backend.place`: an OrtValue."""
        # ONNX Runtime borrows the memory of a NumPy array: it must be ours, or a caller could change it.
        owned = np.array(array, order="C")
        return Resident((_value(owned, self.device), owned if self.device == "cpu" else None), owned.shape)

    def run(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> dict[str, npt.NDArray[Any]]:
        """As `Backend.run`."""
        session = self.session(graph)
        values = {
            name: value.handle[0] if isinstance(value, Resident) else _value(np.ascontiguousarray(value))
            for name, value in inputs.items()
        }
        names = [output.name for output in self._bundle.graph(graph).outputs]
        try:
            outputs = session.run_with_ort_values(names, values)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise BackendError(f"ONNX Runtime could not run graph {graph!r}: {_first_line(error)}") from error
        return {name: value.numpy() for name, value in zip(names, outputs, strict=True)}

    def session(self, graph: str) -> ort.InferenceSession:
        """The session of a graph, loaded when it is first asked for.

        Raises:
            BackendError: ONNX Runtime cannot load it.
        """
        # Loading one graph must not hold up those that run another.
        found = self._sessions.get(graph)
        if found is not None:
            return found
        with self._lock:
            if graph not in self._sessions:
                self._sessions[graph] = self._load(graph)
            return self._sessions[graph]

    def _load(self, graph: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _ERROR_SEVERITY
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        self._bundle.check_graph(graph)
        path = self._bundle.graph_path(graph)
        try:
            return ort.InferenceSession(str(path), options, providers=list(self.providers))
        except Exception as error:
            raise BackendError(f"ONNX Runtime could not load {path}: {_first_line(error)}") from error


def _value(array: npt.NDArray[Any], device: str = "cpu") -> ort.OrtValue:
    try:
        return ort.OrtValue.ortvalue_from_numpy(array, device, 0)
    except Exception as error:
        raise BackendError(
            f"ONNX Runtime takes no array of type {array.dtype}: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
