"""What every executor offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from hmdrn_runtime.bundle import Bundle
from hmdrn_runtime.errors import BackendError

BACKENDS = ("auto", "onnxruntime")


@dataclass(frozen=True)
class Resident:
    """An array that stays where the graphs run, from call to call.

    Attributes:
        handle: The backend's own object for it.
        shape: Its shape.
    """

    handle: Any
    shape: tuple[int, ...]


class Backend(ABC):
    """Runs the graphs of one bundle. Calls from several threads at once are safe."""

    name: str

    @abstractmethod
    def place(self, array: npt.NDArray[Any]) -> Resident:
        """Bring an array to where the graphs run, and keep it there."""

    @abstractmethod
    def run(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> dict[str, npt.NDArray[Any]]:
        """Run a graph.

        Args:
            graph: Its name in the bundle.
            inputs: Arrays by input name, or what `place` returned.

        Returns:
            The outputs by name.

        Raises:
            BackendError: The graph cannot be loaded, or refuses these inputs.
        """


def open_backend(bundle: Bundle, name: str = "auto", threads: int | None = None) -> Backend:
    """The executor of a bundle's graphs.

    Args:
        bundle: What to run.
        name: "auto" or "onnxruntime".
        threads: CPU threads for one call; all cores if None.

    Raises:
        BackendError: An unknown executor, or one that this machine cannot offer.
    """
    if name == "tensorrt":
        raise BackendError(
            "this version of hmdrn does not have the backend 'tensorrt' yet: use backend='onnxruntime'"
        )
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    if threads is not None and threads < 1:
        raise BackendError(f"threads is {threads}: give at least 1, or None for all cores")
    wanted = bundle.graph("classify").backends
    if "onnxruntime" not in wanted:
        raise BackendError(
            f"variant {bundle.variant!r} of {bundle.path} is for {', '.join(wanted)}, which this version of "
            "hmdrn does not run: open the bundle's variant 'fp32'"
        )
    from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(bundle, threads)
