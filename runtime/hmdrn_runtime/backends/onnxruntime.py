"""ONNX Runtime, on the CPU unless a subclass names another provider."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend, GraphInputs, GraphOutputs, ResidentArray
from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.device.cpu_limits import count_cores
from hmdrn_runtime.device.forking import keep_forever, repair_after_fork
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.messages import format_error

_ERROR_SEVERITY = 3


class OnnxRuntimeBackend(Backend):
    """One session for each graph of a bundle, made on first use.

    Args:
        bundle: The bundle to run.
        threads: CPU threads for one call; all cores that this process may use if None.
    """

    name = "onnxruntime"
    providers: tuple[str | tuple[str, dict[str, str]], ...] = ("CPUExecutionProvider",)
    """Execution providers of a session, best first."""
    device = "cpu"
    """ONNX Runtime's name of the device where arrays are placed."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._bundle = bundle
        self._threads = threads
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()
        repair_after_fork(self)

    def after_fork(self) -> None:
        """Load the graphs again in a forked process, which lacks the threads of the sessions."""
        keep_forever(self._sessions)
        self._sessions, self._lock = {}, threading.Lock()

    def place(self, array: npt.NDArray[Any]) -> ResidentArray:
        """Copy an array into an OrtValue; see `Backend.place`."""
        # ONNX Runtime borrows the memory of a NumPy array: it must be ours, or a caller could change it.
        owned = np.array(array, order="C")
        value = _make_value(owned, self.device)
        return ResidentArray((value, owned if self.device == "cpu" else None), owned.shape)

    def run(self, graph: str, inputs: GraphInputs) -> GraphOutputs:
        """Run a graph in its session; see `Backend.run`."""
        session = self._get_session(graph)
        values = {name: _make_value(value) for name, value in inputs.items()}
        names = [output.name for output in self._bundle.graph(graph).outputs]
        try:
            outputs = session.run_with_ort_values(names, values)
        except Exception as error:  # ONNX Runtime's exceptions have no other base class in common
            raise BackendError(
                f"ONNX Runtime could not run graph {graph!r}: {format_error(error)}"
            ) from error
        return {name: value.numpy() for name, value in zip(names, outputs, strict=True)}

    def _get_session(self, graph: str) -> ort.InferenceSession:
        # Loading one graph must not block threads that run another.
        if graph not in self._sessions:
            with self._lock:
                if graph not in self._sessions:
                    self._sessions[graph] = self._load(graph)
        return self._sessions[graph]

    def _make_options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.log_severity_level = _ERROR_SEVERITY
        # Its own default takes the machine's cores, and prints errors about those that a container lacks.
        options.intra_op_num_threads = self._threads or count_cores()
        return options

    def _load(self, graph: str) -> ort.InferenceSession:
        self._bundle.check_graph(graph)
        path = self._bundle.graph_path(graph)
        try:
            session = ort.InferenceSession(str(path), self._make_options(), providers=list(self.providers))
        except Exception as error:
            raise BackendError(f"ONNX Runtime could not load {path}: {format_error(error)}") from error
        release_freed_memory()
        return session


def release_freed_memory() -> None:
    """Return freed memory to the system, where the C library can do it (glibc).

    A session widens and folds weights while it loads; the C library would keep that memory: as much as the
    weights take.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _make_value(array: npt.NDArray[Any] | ResidentArray, device: str = "cpu") -> ort.OrtValue:
    if isinstance(array, ResidentArray):
        return array.handle[0]
    try:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)
    except Exception as error:
        raise BackendError(
            f"ONNX Runtime does not accept an array of type {array.dtype}: {format_error(error)}"
        ) from error
