"""How the versions of TensorRT differ, as far as the builder is concerned: one table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hmdrn_runtime.errors import BackendError


@dataclass(frozen=True)
class Dialect:
    """What one range of versions understands.

    Attributes:
        module: Name of its Python module.
        since: The first version of the range; it ends before the next range of the same module.
        strong_typing: Precision is in the graph's types. Before: flags, and float32 layers by name.
        explicit_batch: A network must be asked for an explicit batch.
        progress: It has IProgressMonitor.
        timing_cache: Timings of kernels can be kept from build to build.
        ahead_of_time: It compiles for GPUs that are named, and needs none itself.
        newest_opset: The newest ONNX operators that its parser reads, as far as our graphs go.
        profile_sharing: Execution contexts share a profile if a preview feature is set; without it they do
            not before TensorRT 10, and always do from then on.
    """

    module: str
    since: tuple[int, int]
    strong_typing: bool
    explicit_batch: bool
    progress: bool
    timing_cache: bool
    ahead_of_time: bool
    newest_opset: int
    profile_sharing: bool = False


DIALECTS = (
    Dialect("tensorrt", (8, 5), False, True, False, True, False, 17),
    Dialect("tensorrt", (8, 6), False, True, False, True, False, 17, profile_sharing=True),
    Dialect("tensorrt", (10, 0), False, False, True, True, False, 18),
    # Strong typing is there from 10.0 on, and takes all of our graphs from 10.12 on.
    Dialect("tensorrt", (10, 12), True, False, True, True, False, 18),
    Dialect("tensorrt_rtx", (1, 7), True, False, True, False, True, 18),
)
"""The table, each module's ranges in order. TensorRT 11 understands what 10.12 does, and has no flags."""


def dialect_of(module: str, version: str) -> Dialect:
    """The row of the table for a compiler.

    Args:
        module: "tensorrt" or "tensorrt_rtx".
        version: Its `__version__`.

    Raises:
        BackendError: It is older than any that this SDK knows.
    """
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    rows = [row for row in DIALECTS if row.module == module]
    known = [row for row in rows if row.since <= numbers]
    if not known:
        needed = " or ".join(f"{row.module} {row.since[0]}.{row.since[1]}" for row in rows[:1]) or "tensorrt"
        raise BackendError(f"{module} {version} is too old: install {needed} or newer")
    return known[-1]


def dialect_of_module(trt: Any) -> Dialect:
    """The row of the table for an imported module."""
    return dialect_of(str(trt.__name__), str(trt.__version__))
