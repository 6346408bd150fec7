"""Inputs larger than an engine was built for: cut into blocks, and the blocks' outputs joined.

Classes that stay on the device are padded to a few sizes, so that a species more or less changes no shape,
and a captured graph stays as good. What they are padded with are copies of themselves, which bring no values
that the graph does not see anyway, and the outputs are cut to the real ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from hmdrn_runtime.bundle.manifest import Graph, Tensor
from hmdrn_runtime.errors import BackendError

Sizes = Mapping[str, int]
Block = Mapping[str, slice]

SEPARATE = ("batch", "classes")
"""Axes along which a graph's results do not depend on each other. Tokens do: a softmax adds over them."""


_FEWEST_CLASSES = 8


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


def padded(classes: int, most: int) -> int:
    """How many classes there are with the padding.

    Args:
        classes: How many there are.
        most: How many the engine takes at once.

    Returns:
        A power of two from 8 on, or `most`, or whole blocks of `most`.
    """
    if classes > most:
        return -(-classes // most) * most
    return min(max(_FEWEST_CLASSES, 1 << (classes - 1).bit_length()), most)


def with_padding(block: Block, sizes: Sizes, largest: Sizes) -> dict[str, slice]:
    """A block of classes and the padding that belongs to it."""
    start, most = block["classes"].start, largest["classes"]
    return {**block, "classes": slice(start, min(start + most, padded(sizes["classes"], most)))}


def within(block: Block) -> dict[str, slice]:
    """What of a block's outputs is not padding."""
    return {axis: slice(part.stop - part.start) for axis, part in block.items()}


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
