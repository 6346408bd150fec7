"""What every executor offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy.typing as npt


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
    passed_over: Mapping[str, str] = MappingProxyType({})
    """Backends that were tried before this one, each with what was against it."""

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
