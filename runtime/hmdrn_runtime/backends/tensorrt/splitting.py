"""Inputs larger than an engine was built for: cut into blocks, and the blocks' outputs joined."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.manifest import Graph, Tensor

Sizes = Mapping[str, int]
Block = Mapping[str, slice]

SEPARATE = ("batch", "classes")
"""Axes along which a graph's results do not depend on each other. Tokens do: a softmax adds over them."""


def sizes_of(name: str, graph: Graph, given: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """The free sizes that a call's inputs have, by axis.

    Args:
        name: The graph's name, for messages.
        graph: What it takes.
        given: Dtype and shape of each input.

    Raises:
        BackendError: Inputs that the graph does not take.
    """
    expected = {tensor.name: tensor for tensor in graph.inputs}
    if given.keys() != expected.keys():
        raise _refusal(name, f"{', '.join(given) or 'nothing'}, and takes {', '.join(expected)}")
    sizes: dict[str, int] = {}
    for key, tensor in expected.items():
        dtype, shape = given[key]
        text = f"{key} {dtype}{list(shape)}, and takes {tensor.dtype}{list(tensor.shape)}"
        if dtype != tensor.dtype or len(shape) != len(tensor.shape):
            raise _refusal(name, text.replace("'", ""))
        for axis, size in zip(tensor.shape, shape, strict=True):
            wanted = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
            if size != wanted or size < 1:
                raise _refusal(name, text.replace("'", ""))
    return sizes


def blocks(sizes: Sizes, largest: Sizes) -> Iterator[dict[str, slice]]:
    """Blocks that an engine takes, which together are everything.

    Args:
        sizes: Free sizes by axis.
        largest: The most that the engine takes of each.

    Yields:
        A slice of each of the axes that are cut.
    """
    cut = [axis for axis in SEPARATE if axis in sizes]
    ranges = [
        [
            slice(start, min(start + largest[axis], sizes[axis]))
            for start in range(0, sizes[axis], largest[axis])
        ]
        for axis in cut
    ]
    for chosen in itertools.product(*ranges):
        yield dict(zip(cut, chosen, strict=True))


def too_large(sizes: Sizes, largest: Sizes) -> list[str]:
    """Axes that are larger than an engine takes and cannot be cut."""
    return [axis for axis in sizes if axis not in SEPARATE and sizes[axis] > largest[axis]]


def index_of(tensor: Tensor, block: Block) -> tuple[slice, ...]:
    """Where a block lies in a tensor."""
    return tuple(
        block.get(axis, slice(None)) if isinstance(axis, str) else slice(None) for axis in tensor.shape
    )


def _refusal(name: str, text: str) -> BackendError:
    return BackendError(f"TensorRT could not run graph {name!r}: it was given {text}")
