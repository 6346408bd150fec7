"""Several processes that train one network, each on episodes of its own, as `torchrun` starts them."""

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
    """One process among those of a run.

    Attributes:
        rank: Its number; process 0 writes files and reports.
        count: How many there are; with 1 nothing is exchanged.
    """

    rank: int = 0
    count: int = 1

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; one that a process lacks counts as 0."""
        if self.count == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        # One exchange in place of hundreds.
        together = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(together)
        together /= self.count
        for parameter, gradient in zip(parameters, _split_like(together, gradients), strict=True):
            parameter.grad = gradient

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of process 0."""
        if self.count == 1:
            return
        shared = list(tensors)
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in shared:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for same in by_type.values():
            together = torch.cat([tensor.flatten() for tensor in same])
            dist.broadcast(together, src=0)
            for tensor, values in zip(same, _split_like(together, same), strict=True):
                tensor.copy_(values)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up in any process."""
        if self.count == 1:
            return flag
        raised = torch.tensor(float(flag), device=device)
        dist.all_reduce(raised)
        return bool(raised > 0)


def _split_like(together: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Cut a vector into tensors of the shapes of `tensors`."""
    parts = torch.split(together, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


@contextmanager
def joined(device: torch.device) -> Iterator[Workers]:
    """Join the processes that `torchrun` started; alone where it started none."""
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
    """The device called `name`; "auto" is this process's GPU where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(name)
