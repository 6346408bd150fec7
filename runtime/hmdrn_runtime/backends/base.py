"""The interface of every executor of a bundle's graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy.typing as npt

FORKED = (
    "this process was forked after the model was opened on the GPU, and CUDA does not work in a forked "
    "process: call hmdrn.load in each worker (gunicorn without --preload), or start workers by 'spawn'"
)
"""Message of a backend on a GPU in a forked process."""


@dataclass(frozen=True)
class ResidentArray:
    """An array that stays where the graphs run, from call to call.

    Attributes:
        handle: The backend's own object for it.
        shape: Its shape.
    """

    handle: Any
    shape: tuple[int, ...]


GraphInputs: TypeAlias = Mapping[str, npt.NDArray[Any] | ResidentArray]
"""Arrays by input name; those that `Backend.place` returned are not copied again."""
GraphOutputs: TypeAlias = dict[str, npt.NDArray[Any]]
"""Arrays by output name."""


class Backend(ABC):
    """Runs the graphs of one bundle. Calls from several threads at once are safe."""

    name: str
    rejected: Mapping[str, str] = MappingProxyType({})
    """Backends that were tried before this one, each with the reason why it cannot be used."""
    measured: Mapping[str, float] = MappingProxyType({})
    """Milliseconds by variant of the stored profile that chose the variant; empty if none did."""

    @abstractmethod
    def place(self, array: npt.NDArray[Any]) -> ResidentArray:
        """Copy an array to where the graphs run, and keep it there."""

    @abstractmethod
    def run(self, graph: str, inputs: GraphInputs) -> GraphOutputs:
        """Run a graph, given by its name in the bundle.

        Raises:
            BackendError: The graph cannot be loaded, or does not accept these inputs.
        """
