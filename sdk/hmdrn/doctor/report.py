"""What doctor finds out."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hmdrn.doctor.probe_runner import attempt
from hmdrn_runtime.bundle.variants import exact_integer_products
from hmdrn_runtime.device.cpu import Cpu, Memory, read_cpu, read_memory
from hmdrn_runtime.device.jetson import Jetson, read_jetson
from hmdrn_runtime.device.nvidia import GpuState, read_cuda_toolkit, read_gpu_state
from hmdrn_runtime.device.power import PowerMode, query_power_mode, read_power_modes
from hmdrn_runtime.device.state import DeviceState, read_state

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "camera": ("cv2",),
    "export": ("torch", "onnx", "onnxscript"),
    "mqtt": ("paho",),
    "plots": ("matplotlib",),
    "train": ("torch", "scipy", "matplotlib"),
}
"""What the extras bring, by the names that are imported."""

Answer = Mapping[str, Any]
Attempt = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """The device, its software, and what the SDK would use of them.

    What was tried in a process of its own (`gpu`, `tensorrt`, `cuda_bindings`, `onnxruntime`, `choice`) is
    what `child` answers, {"error": reason} where it failed.

    Attributes:
        bundle: The bundle that was asked about.
        hmdrn, python, system: Versions, and the kind of operating system.
        cpu, memory, jetson, state: As `hmdrn_runtime.device` reads them.
        power_modes: Those that the board has.
        int8: Whether this CPU multiplies 8-bit numbers exactly.
        gpu: Name, compute capability and newest CUDA of the first GPU.
        gpu_state: How it is doing; None on a Jetson and without one.
        cuda_toolkit: Version of the toolkit that is installed, or None.
        tensorrt: Version of the package, or why it cannot be imported.
        system_tensorrt: Whether the system has a package tensorrt that this Python does not see.
        cuda_bindings: What TensorRT's memory is managed through, or why there is nothing.
        onnxruntime: Version, or why it cannot be imported.
        providers: By name, why a provider that ONNX Runtime lists does not work, or None if it does.
        missing_extras: Packages that are missing, by extra.
        choice: Backend and variant that the SDK uses for the bundle, and why not others.
    """

    bundle: str
    hmdrn: str
    python: str
    system: str
    cpu: Cpu
    memory: Memory | None
    jetson: Jetson | None
    state: DeviceState
    power_modes: tuple[PowerMode, ...]
    int8: bool
    gpu: Answer
    gpu_state: GpuState | None
    cuda_toolkit: str | None
    tensorrt: Answer
    system_tensorrt: bool
    cuda_bindings: Answer
    onnxruntime: Answer
    providers: Mapping[str, str | None]
    missing_extras: Mapping[str, tuple[str, ...]]
    choice: Answer

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary, not yet scrubbed."""
        return asdict(self)


def collect(bundle: str, root: Path = Path("/"), attempt: Attempt = attempt) -> Facts:
    """Find everything out; some seconds.

    Args:
        bundle: A bundle's folder, or "default".
        root: Where the file system of the device begins.
        attempt: Runs a trial.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        trials = (("gpu",), ("package", "tensorrt"), ("bindings",), ("choice", bundle))
        gpu, tensorrt, bindings, choice = (pool.submit(attempt, *trial) for trial in trials)
        listed = attempt("providers")
        names = listed.get("providers", [])
        tried = dict(zip(names, pool.map(lambda name: attempt("provider", name), names), strict=True))
    seen, jetson, state = _installed("tensorrt"), read_jetson(root), read_state(root)
    if jetson is not None and state.power_mode is None:
        state = replace(state, power_mode=query_power_mode())
    return Facts(
        bundle=bundle,
        hmdrn=version("hmdrn"),
        python=platform.python_version(),
        system=platform.system(),
        cpu=read_cpu(root),
        memory=read_memory(root),
        jetson=jetson,
        state=state,
        power_modes=read_power_modes(root),
        int8=exact_integer_products(),
        gpu=gpu.result(),
        gpu_state=None if "error" in gpu.result() else read_gpu_state(),
        cuda_toolkit=read_cuda_toolkit(root),
        tensorrt=tensorrt.result() if seen else {"error": "it is not installed"},
        system_tensorrt=not seen and any(root.glob("usr/lib/python3*/dist-packages/tensorrt")),
        cuda_bindings=bindings.result(),
        onnxruntime={key: listed[key] for key in ("version", "error") if key in listed},
        providers={name: verdict(name, answer) for name, answer in tried.items()},
        missing_extras=missing_extras(),
        choice=choice.result(),
    )


def verdict(provider: str, answer: Answer) -> str | None:
    """Why a provider does not work; None if it does."""
    if "error" in answer:
        return str(answer["error"])
    if provider not in answer["used"]:
        reason = answer.get("complaint") or "ONNX Runtime does not say why"
        return f"it does not load: {reason}"
    return None if answer["right"] else "it computes 1 + 1 wrongly"


def missing_extras() -> dict[str, tuple[str, ...]]:
    """Packages that are not installed, by the extra that brings them."""
    absent = {extra: tuple(name for name in names if not _installed(name)) for extra, names in EXTRAS.items()}
    return {extra: names for extra, names in absent.items() if names}


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
