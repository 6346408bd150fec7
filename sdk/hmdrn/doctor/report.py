"""Report on a device and its software."""

from __future__ import annotations

import importlib.util
import platform
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hmdrn.doctor.probe_runner import run_probe
from hmdrn_runtime.backends.tensorrt.cuda.find import is_installed
from hmdrn_runtime.bundle.variants import has_fast_int8_products
from hmdrn_runtime.credentials import mask_secrets
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
"""Packages that each extra installs, by their import names."""

_SYSTEM_TENSORRT = "usr/lib/python3*/dist-packages/tensorrt"
_TOO_OLD = re.compile(r"python3\.[0-9]$")
"""Folders of Pythons that hmdrn does not run on, such as that of JetPack 5."""

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class DeviceReport:
    """A device, its software, and the use that hmdrn would make of them.

    `gpu`, `tensorrt`, `cuda_bindings`, `onnxruntime`, `opencv` and `choice` are answers of probes,
    {"error": reason} if one failed.

    Attributes:
        bundle: The bundle that the report is for.
        hmdrn, python, system: Versions, and the kind of operating system.
        cpu, memory, jetson, state: As `hmdrn_runtime.device` reads them.
        power_modes: Those that the board has.
        int8: True if this CPU multiplies 8-bit numbers exactly.
        gpu: Name, compute capability and newest CUDA of the first GPU.
        gpu_state: Its state; None on a Jetson and without a GPU.
        cuda_toolkit: Version of the installed toolkit, or None.
        tensorrt: Version of the package.
        system_tensorrt: True if the system has a package tensorrt that this Python does not see.
        hidden_tensorrt: True if another package tensorrt, such as pip's, hides that of the system.
        cuda_bindings: Name of the bindings that manage TensorRT's memory.
        onnxruntime: Version of the package.
        providers: For each provider that ONNX Runtime lists, its problem, or None if it works.
        missing_extras: Packages that are missing, by extra.
        choice: Backend and variant for the bundle, and the reasons against others.
        opencv: Version of the package; empty if it is not installed.
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
    hidden_tensorrt: bool = False
    opencv: Answer = field(default_factory=dict)


def collect_report(
    bundle: str, root: Path = Path("/"), probe: Callable[..., dict[str, Any]] = run_probe
) -> DeviceReport:
    """Collect the report in some seconds; `root` is that of the device's file system."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        calls = (("gpu",), ("package", "tensorrt"), ("bindings",), ("choice", bundle), ("package", "cv2"))
        gpu, tensorrt, bindings, choice, opencv = (pool.submit(probe, *call) for call in calls)
        listed = probe("providers")
        names = listed.get("providers", [])
        answers = dict(zip(names, pool.map(lambda name: probe("provider", name), names), strict=True))
    sees_tensorrt, jetson, state = is_installed("tensorrt"), read_jetson(root), read_state(root)
    if jetson is not None and state.power_mode is None:
        state = replace(state, power_mode=query_power_mode())
    return DeviceReport(
        bundle=mask_secrets(bundle),
        hmdrn=version("hmdrn"),
        python=platform.python_version(),
        system=platform.system(),
        cpu=read_cpu(root),
        memory=read_memory(root),
        jetson=jetson,
        state=state,
        power_modes=read_power_modes(root),
        int8=has_fast_int8_products(),
        gpu=gpu.result(),
        gpu_state=None if "error" in gpu.result() else read_gpu_state(),
        cuda_toolkit=read_cuda_toolkit(root),
        tensorrt=tensorrt.result() if sees_tensorrt else {"error": "it is not installed"},
        system_tensorrt=not sees_tensorrt and bool(_list_system_tensorrt(root)),
        hidden_tensorrt=_is_system_tensorrt_hidden(root),
        cuda_bindings=bindings.result(),
        onnxruntime={key: listed[key] for key in ("version", "error") if key in listed},
        providers={name: find_provider_problem(name, answer) for name, answer in answers.items()},
        missing_extras=_find_missing_extras(),
        choice=choice.result(),
        opencv=opencv.result() if is_installed("cv2") else {},
    )


def find_provider_problem(provider: str, answer: Answer) -> str | None:
    """Return the reason why a provider does not work; None if it does."""
    if "error" in answer:
        return str(answer["error"])
    if provider not in answer["used"]:
        return f"it does not load: {answer.get('complaint') or 'ONNX Runtime does not say why'}"
    return None if answer["right"] else "it computes 1 + 1 wrongly"


def _list_system_tensorrt(root: Path) -> list[Path]:
    return [path for path in root.glob(_SYSTEM_TENSORRT) if not _TOO_OLD.match(path.parts[-3])]


def _is_system_tensorrt_hidden(root: Path) -> bool:
    folders = _list_system_tensorrt(root)
    spec = importlib.util.find_spec("tensorrt")
    if not folders or spec is None or spec.origin is None:
        return False
    return Path(spec.origin).resolve().parent not in [folder.resolve() for folder in folders]


def _find_missing_extras() -> dict[str, tuple[str, ...]]:
    missing = {extra: tuple(p for p in packages if not is_installed(p)) for extra, packages in EXTRAS.items()}
    return {extra: packages for extra, packages in missing.items() if packages}
