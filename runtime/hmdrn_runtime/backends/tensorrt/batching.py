"""Inputs larger than an engine's maximum: split into blocks, whose outputs are joined.

Classes that stay on the device are padded to a few sizes, so that one species more or less changes no shape
and a captured graph stays valid. The padding repeats the classes themselves, which adds no values that the
graph does not see anyway, and is cut off the outputs.
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
_MIN_CLASSES = 8


def infer_sizes(name: str, graph: Graph, given: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """Return the sizes of the free axes in a call's inputs, by axis.

    Args:
        name: The graph's name, for messages.
        graph: The graph.
        given: Dtype and shape of each input.

    Raises:
        BackendError: The graph does not accept these inputs.
    """
    refusal = f"TensorRT could not run graph {name!r}: it was given "
    expected = {tensor.name: tensor for tensor in graph.inputs}
    if given.keys() != expected.keys():
        raise BackendError(f"{refusal}{', '.join(given) or 'nothing'}, and takes {', '.join(expected)}")
    sizes: dict[str, int] = {}
    for key, tensor in expected.items():
        dtype, shape = given[key]
        fits = dtype == tensor.dtype and len(shape) == len(tensor.shape)
        for axis, size in zip(tensor.shape, shape, strict=False):
            required = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
            fits = fits and size == required and size >= 1
        if not fits:
            accepted = f"{tensor.dtype}{list(tensor.shape)}".replace("'", "")
            raise BackendError(f"{refusal}{key} {dtype}{list(shape)}, and takes {accepted}")
    return sizes


def split_blocks(sizes: Sizes, max_sizes: Sizes) -> Iterator[dict[str, slice]]:
    """Split a call of these sizes into blocks that an engine accepts: slices of the separate axes."""
    axes = [axis for axis in SEPARATE if axis in sizes]
    for parts in itertools.product(*(_split_axis(sizes[axis], max_sizes[axis]) for axis in axes)):
        yield dict(zip(axes, parts, strict=True))


def _split_axis(size: int, maximum: int) -> list[slice]:
    return [slice(start, min(start + maximum, size)) for start in range(0, size, maximum)]


def pad_class_count(classes: int, maximum: int) -> int:
    """Return the number of classes with padding: a power of two from 8 on, `maximum`, or a multiple of it."""
    if classes > maximum:
        return -(-classes // maximum) * maximum
    return min(max(_MIN_CLASSES, 1 << (classes - 1).bit_length()), maximum)


def extend_into_padding(block: Block, sizes: Sizes, max_sizes: Sizes) -> dict[str, slice]:
    """Return a block of classes with its padding."""
    start, maximum = block["classes"].start, max_sizes["classes"]
    stop = min(start + maximum, pad_class_count(sizes["classes"], maximum))
    return {**block, "classes": slice(start, stop)}


def drop_padding(block: Block) -> dict[str, slice]:
    """Return the part of a block's outputs that is not padding."""
    return {axis: slice(part.stop - part.start) for axis, part in block.items()}


def find_oversized_axes(sizes: Sizes, max_sizes: Sizes) -> list[str]:
    """Return the axes that exceed an engine's maximum and cannot be split."""
    return [axis for axis in sizes if axis not in SEPARATE and sizes[axis] > max_sizes[axis]]


def index_block(tensor: Tensor, block: Block) -> tuple[slice, ...]:
    """Return the index of a block in a tensor."""
    return tuple(
        block.get(axis, slice(None)) if isinstance(axis, str) else slice(None) for axis in tensor.shape
    )
