"""The sizes that an engine is built for: batch, classes and shots."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hmdrn_runtime.bundle.manifest import Graph, Level, Network
from hmdrn_runtime.errors import ExportError
from hmdrn_runtime.matching.ridge import SOLVE_BATCH

Range = tuple[int, int, int]
"""The smallest size, the one to be fastest at, and the largest."""


@dataclass(frozen=True)
class Bounds:
    """Ranges of the sizes that are free in our graphs.

    Attributes:
        batch: Photos at once.
        classes: Enrolled species.
        shots: Photos of a species; counts where a class is all of its tokens (the attention head).
    """

    batch: Range = (1, 1, 8)
    classes: Range = (1, 10, 1000)
    shots: Range = (1, 5, 10)

    def __post_init__(self) -> None:
        for name, (least, best, most) in vars(self).items():
            if not 1 <= least <= best <= most:
                raise ExportError(
                    f"{name} is ({least}, {best}, {most}): give a smallest, a usual and a largest size"
                )

    def of(self, axis: str, levels: tuple[Level, ...]) -> Range:
        """The range of an axis by its name in the graph: "batch", "classes" or "tokens_<level>".

        Raises:
            ExportError: A name that no graph of ours has.
        """
        if axis in ("batch", "classes"):
            return self.batch if axis == "batch" else self.classes
        for level in levels:
            if axis == f"tokens_{level.name}":
                least, best, most = self.shots
                return least * level.tokens, best * level.tokens, most * level.tokens
        raise ExportError(f"no bounds for a size named {axis!r}: export the bundle again")


def default_bounds(model: Network) -> Bounds:
    """Bounds whose engines fit into a small device's memory.

    A species is 17 KB for Conv-4 with the ridge head, 1 MB for ResNet-12, and all its tokens for attention.
    """
    if model.head == "attention":
        return Bounds(classes=(1, 5, 20))
    return Bounds() if model.statistics == "gram" else Bounds(classes=(1, 10, 200))


def shapes(
    name: str, graph: Graph, levels: tuple[Level, ...], bounds: Bounds
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Smallest, usual and largest shape of every input of the graph `name`."""
    if name == "solve":  # the runtime solves so many at once, and one as a rule
        bounds = replace(bounds, classes=(1, 1, SOLVE_BATCH))
    result = {}
    for tensor in graph.inputs:
        ranges = [(size,) * 3 if isinstance(size, int) else bounds.of(size, levels) for size in tensor.shape]
        least, best, most = (tuple(r[i] for r in ranges) for i in range(3))
        result[tensor.name] = (least, best, most)
    return result
