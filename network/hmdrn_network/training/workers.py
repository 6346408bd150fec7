"""Processes started by `torchrun` that train one network, each on its own episodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Workers:
    """A process among those of a run.

    Attributes:
        rank: Number of the process; process 0 writes files and reports.
        count: Number of processes; 1 exchanges nothing.
    """

    rank: int = 0
    count: int = 1

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; a missing gradient counts as 0."""
        if self.count == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        # One exchange in place of hundreds.
        total = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(total)
        for parameter, gradient in zip(parameters, _split_like(total / self.count, gradients), strict=True):
            parameter.grad = gradient

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of process 0."""
        if self.count == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for same in by_type.values():
            flat = torch.cat([tensor.flatten() for tensor in same])
            dist.broadcast(flat, src=0)
            for tensor, values in zip(same, _split_like(flat, same), strict=True):
                tensor.copy_(values)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return True if the flag is set in any process."""
        if self.count == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        dist.all_reduce(count)
        return bool(count > 0)


def _split_like(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Cut a vector into tensors of the shapes of `tensors`."""
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


@contextmanager
def join_workers(device: torch.device) -> Iterator[Workers]:
    """Join the processes that `torchrun` started; a process that it did not start is alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


def pick_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is this process's GPU if it has one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(name)
