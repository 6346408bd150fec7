"""What the operators of our graphs compute, in torch: float32 and integers alone, no rounding to half."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = Mapping[str, Any]
Operator = Callable[[Attributes, Sequence[Tensor]], Tensor | tuple[Tensor, ...]]


def _conv(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    pads = a["pads"]
    assert pads[:2] == pads[2:]
    assert a["auto_pad"] == b"NOTSET"
    return F.conv2d(
        x[0], x[1], x[2] if len(x) > 2 else None, a["strides"], pads[:2], a["dilations"], a["group"]
    )


def _max_pool(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    assert not any(a["pads"])
    assert a["auto_pad"] == b"NOTSET"
    return F.max_pool2d(x[0], a["kernel_shape"], a["strides"], 0, a["dilations"], bool(a["ceil_mode"]))


def _gemm(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    left = x[0].T if a.get("transA") else x[0]
    right = x[1].T if a.get("transB") else x[1]
    product = torch.mul(left @ right, a.get("alpha", 1.0))
    return torch.add(product, x[2], alpha=a.get("beta", 1.0)) if len(x) > 2 else product


def _layer_norm(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    assert a["axis"] in (-1, x[0].dim() - 1)
    return F.layer_norm(x[0], x[1].shape, x[1], x[2], a["epsilon"])


def _pad(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    before, after = x[1].reshape(2, -1).tolist()
    # torch counts from the last axis.
    sides = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return F.pad(x[0], sides)


def _reshape(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    shape = [
        x[0].shape[i] if size == 0 and not a.get("allowzero") else size
        for i, size in enumerate(x[1].tolist())
    ]
    return x[0].reshape(shape)


def _split(a: Attributes, x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    sizes = x[1].tolist() if len(x) > 1 else math.ceil(x[0].shape[axis] / a["num_outputs"])
    return torch.functional.split(x[0], sizes, axis)


def _gather(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    axis = a.get("axis", 0) % x[0].dim()
    found = x[0].index_select(axis, x[1].reshape(-1))
    return found.reshape(*x[0].shape[:axis], *x[1].shape, *x[0].shape[axis + 1 :])


def _unsqueeze(a: Attributes, x: Sequence[Tensor]) -> Tensor:
    axes = x[1].reshape(-1).tolist()
    for axis in sorted(i % (x[0].dim() + len(axes)) for i in axes):
        x = (x[0].unsqueeze(axis),)
    return x[0]


def _reduce(by: Callable[..., Tensor]) -> Operator:
    def reduce(a: Attributes, x: Sequence[Tensor]) -> Tensor:
        axes = x[1].reshape(-1).tolist() if len(x) > 1 else list(range(x[0].dim()))
        return by(x[0], dim=axes, keepdim=bool(a.get("keepdims", 1)))

    return reduce


OPERATORS: Mapping[str, Operator] = {
    "Abs": lambda a, x: x[0].abs(),
    "Add": lambda a, x: x[0] + x[1],
    "Concat": lambda a, x: torch.cat(list(x), a["axis"]),
    "Conv": _conv,
    "Div": lambda a, x: x[0] / x[1],
    "Erf": lambda a, x: x[0].erf(),
    "Expand": lambda a, x: x[0] * torch.ones(x[1].tolist(), dtype=x[0].dtype),
    "Gather": _gather,
    "GatherElements": lambda a, x: x[0].gather(a.get("axis", 0), x[1].long()),
    "Gemm": _gemm,
    "Greater": lambda a, x: x[0] > x[1],
    "Identity": lambda a, x: x[0],
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda a, x: F.leaky_relu(x[0], a["alpha"]),
    "MatMul": lambda a, x: x[0] @ x[1],
    "MaxPool": _max_pool,
    "Mul": lambda a, x: x[0] * x[1],
    "Neg": lambda a, x: -x[0],
    "Pad": _pad,
    "Pow": lambda a, x: x[0] ** x[1],
    "Reciprocal": lambda a, x: x[0].reciprocal(),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda a, x: x[0].relu(),
    "Reshape": _reshape,
    "Shape": lambda a, x: torch.tensor(x[0].shape[a.get("start", 0) : a.get("end")]),
    "Softmax": lambda a, x: x[0].softmax(a.get("axis", -1)),
    "Split": _split,
    "Sub": lambda a, x: x[0] - x[1],
    "Transpose": lambda a, x: x[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, x: torch.where(x[0], x[1], x[2]),
}
"""Every operator that the tracer leaves in a graph, but Cast, which is the executor's own matter."""
