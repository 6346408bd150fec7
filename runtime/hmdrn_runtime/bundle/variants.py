"""Which of a bundle's variants a machine should run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.device.cpu import cpu_flags
from hmdrn_runtime.device.sysfs import read_text

PREFERRED = ("int8-ort", "int8-trt", "fp16", "fp32")
"""Fastest first: who exported a bundle at a lower precision wants it used."""

FLOAT32_OPSET17 = "fp32-opset17"
"""float32 in operators that TensorRT 8.5 reads; other backends have no use for it."""

_CPU_INFO = Path("/proc/cpuinfo")
_ARM = ("aarch64", "arm64")


def choose_variant(manifest: Manifest, backend: str) -> str:
    """The variant for a backend on this machine; "fp32" where none is for it."""
    suitable = (
        name
        for name in PREFERRED
        if name in manifest.variants and why_not(manifest.variants[name], backend) is None
    )
    return next(suitable, "fp32")


def why_not(graphs: Mapping[str, Graph], backend: str) -> str | None:
    """Why a variant is not for a backend on this machine; None if it is."""
    if "classify" not in graphs:
        return "they do not classify"
    graph = graphs["classify"]
    if graph.precision == "int8" and backend == "onnxruntime-cuda":
        return "its 8-bit kernels are for CPUs"
    if backend.removesuffix("-cuda") not in graph.backends:
        return f"they are for {', '.join(graph.backends)}"
    if graph.precision == "int8" and backend == "onnxruntime" and not exact_integer_products():
        return "this CPU has no VNNI, without which sums of 8-bit products are cut off"
    return None


@cache
def exact_integer_products() -> bool:
    """Whether ONNX Runtime multiplies 8-bit numbers exactly on this CPU.

    On x86-64 without VNNI it uses VPMADDUBSW, which saturates at 16 bits. A machine that does not tell is
    taken for one without.
    """
    if platform.machine().lower() in _ARM:
        return True
    return not cpu_flags(read_text(_CPU_INFO) or "").isdisjoint(("avx512_vnni", "avx_vnni"))
