"""Differences between the versions of TensorRT that concern the builder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hmdrn_runtime.errors import BackendError


@dataclass(frozen=True)
class CompilerFeatures:
    """Features of one range of versions.

    Attributes:
        module: Name of its Python module.
        since: First version of the range; it ends before the next range of the same module.
        strong_typing: The graph's types can decide the precision.
        precision_flags: Flags can decide the precision, with float32 layers by name.
        explicit_batch: A network must be created with an explicit batch.
        progress: It has IProgressMonitor.
        timing_cache: Timings of kernels can be kept for the next build.
        ahead_of_time: It compiles for named GPUs, and needs none itself.
        newest_opset: Newest ONNX opset that its parser reads, for the operators of our graphs.
        profile_sharing: Execution contexts share a profile only if a preview feature is set; from TensorRT 10
            on they always do.
    """

    module: str
    since: tuple[int, int]
    strong_typing: bool
    precision_flags: bool
    explicit_batch: bool
    progress: bool
    timing_cache: bool
    ahead_of_time: bool
    newest_opset: int
    profile_sharing: bool = False


FEATURES = (
    CompilerFeatures("tensorrt", (8, 6), False, True, True, False, True, False, 17, profile_sharing=True),
    CompilerFeatures("tensorrt", (10, 0), True, True, False, True, True, False, 18),
    CompilerFeatures("tensorrt", (11, 0), True, False, False, True, True, False, 18),
    CompilerFeatures("tensorrt_rtx", (1, 7), True, False, False, True, False, True, 18),
)
"""Ranges of each module in order."""


def find_features(module: str, version: str) -> CompilerFeatures:
    """Find the features of a compiler by its module, "tensorrt" or "tensorrt_rtx", and its `__version__`.

    Raises:
        BackendError: It is older than all supported versions.
    """
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    rows = [row for row in FEATURES if row.module == module]
    known = [row for row in rows if row.since <= numbers]
    if not known:
        needed = f"{module} {rows[0].since[0]}.{rows[0].since[1]}" if rows else "tensorrt"
        raise BackendError(f"{module} {version} is too old: install {needed} or newer")
    return known[-1]


def detect_features(trt: Any) -> CompilerFeatures:
    """Find the features of an imported module."""
    return find_features(str(trt.__name__), str(trt.__version__))
