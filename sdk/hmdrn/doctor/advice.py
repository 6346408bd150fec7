"""Advice on what to do next on a device."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from hmdrn.doctor.report import DeviceReport

_LITTLE_MEMORY = 400
"""MiB."""
_HOT = 85.0
"""Degrees Celsius."""
_CUDA = "CUDAExecutionProvider"
_TENSORRT_OF_OLD_PYTHON = ("4", "5")
"""JetPacks whose TensorRT is for a Python that hmdrn does not run on: they run on the CPU."""
SLOW_INT8 = "INT8 engines of TensorRT 10.3 are often slower than FP16 ones: measure both"
_REINSTALL = "pip install --force-reinstall onnxruntime"
_UPDATE_DRIVER = "sudo ubuntu-drivers install"
"""Ubuntu's; other systems have their own."""
_OLDER_NUMPY = "pip install 'numpy<2'"


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        what: The problem, or the possible improvement, in a sentence.
        command: Command to run, quoted for a shell.
        needed: True if hmdrn does not work without it.
    """

    what: str
    command: str
    needed: bool = False


def advise(report: DeviceReport) -> tuple[Advice, ...]:
    """Return advice, the most urgent first; never empty."""
    broken = _find_broken(report)
    if broken is not None:
        return (broken,)
    enroll = Advice(
        "hmdrn works here: enroll your species, a folder of photos for each",
        f"hmdrn enroll {shlex.quote(report.bundle)} FOLDER --gallery my.gallery",
    )
    return (*_accelerators(report), *_conditions(report), enroll, *_additions(report))


def has_slow_int8(tensorrt: str) -> bool:
    """Return True if `SLOW_INT8` is true of a version of TensorRT."""
    return tensorrt.startswith("10.3.")


def _find_broken(report: DeviceReport) -> Advice | None:
    if "error" in report.onnxruntime:
        problem = f"ONNX Runtime cannot be imported: {report.onnxruntime['error']}"
        return Advice(problem, _REINSTALL, needed=True)
    cpu_problem = report.providers.get("CPUExecutionProvider", "it is not listed")
    if cpu_problem is not None:
        return Advice(f"ONNX Runtime does not work on the CPU: {cpu_problem}", _REINSTALL, needed=True)
    if "error" in report.choice:
        default = report.bundle == "default"
        command = "pip install --force-reinstall --no-deps ." if default else "hmdrn doctor default"
        problem = f"bundle {report.bundle} does not run here: {report.choice['error']}"
        return Advice(problem, command, needed=True)
    return None


def _accelerators(report: DeviceReport) -> Iterator[Advice]:
    if "error" in report.gpu:
        if report.jetson is not None:
            problem = f"this is a Jetson, but its GPU does not answer: {report.gpu['error']}"
            yield Advice(problem, "sudo apt-get install --reinstall nvidia-l4t-cuda")
        return
    backend = report.choice["backend"]
    if backend == "tensorrt":
        extra = _choose_cuda_extra(report)
        if not report.cuda_bindings.get("captures_graphs", True) and extra != "tensorrt":
            bindings = report.cuda_bindings["name"]
            yield Advice(
                f"{bindings} captures no CUDA graphs as cuda-python does: a camera's frames run step by step",
                f"pip install '.[{extra}]'",
            )
        if report.choice["variant"] == "int8-trt" and has_slow_int8(str(report.tensorrt.get("version"))):
            yield Advice(
                f"{SLOW_INT8} (hmdrn-export --precision fp16 makes the other bundle)",
                f"hmdrn profile {shlex.quote(report.bundle)} --compare FP16_BUNDLE",
            )
        return
    if report.jetson is not None and report.hidden_tensorrt:
        yield Advice(
            f"a TensorRT from pip ({report.tensorrt.get('version', 'broken')}) hides that of JetPack, "
            "which is made for this GPU",
            "pip uninstall -y tensorrt tensorrt-cu12 tensorrt-cu13",
        )
    if report.system_tensorrt:
        yield Advice(
            "the system has TensorRT, but this Python environment does not see it: from a checkout of hmdrn",
            "python3 -m venv --system-site-packages hmdrn-env && hmdrn-env/bin/pip install .",
        )
    elif "error" in report.tensorrt:
        if report.jetson is not None and report.jetson.jetpack not in _TENSORRT_OF_OLD_PYTHON:
            problem = f"TensorRT, which is fastest on a Jetson, cannot be used: {report.tensorrt['error']}"
            yield Advice(problem, "sudo apt-get install python3-libnvinfer")
    elif "error" in report.cuda_bindings:
        problem = f"TensorRT is there, but its memory cannot be managed: {report.cuda_bindings['error']}"
        yield Advice(problem, f"pip install '.[{_choose_cuda_extra(report)}]'")
    else:
        reason = report.choice["not_used"].get("tensorrt", "it has no engines yet")
        if "int8-trt" in report.choice["variants"] and has_slow_int8(str(report.tensorrt.get("version"))):
            reason += f". {SLOW_INT8}"
        problem = f"TensorRT is not used for this bundle: {reason}"
        yield Advice(problem, f"hmdrn build {shlex.quote(report.bundle)}")
    if backend != "onnxruntime" or report.jetson is not None:
        return
    if _CUDA not in report.providers:
        yield Advice(
            f"there is a GPU ({report.gpu['name']}), but the installed ONNX Runtime is for CPUs alone",
            "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
    elif report.providers[_CUDA] is not None:
        # The backend itself knows the cause: libraries that are missing, or a driver that is too old.
        reason = report.choice["not_used"].get("onnxruntime-cuda", "")
        problem = f"ONNX Runtime lists the CUDA provider, and {reason or report.providers[_CUDA]}"
        old_driver = "update the driver" in reason
        yield Advice(problem, _UPDATE_DRIVER if old_driver else "pip install 'onnxruntime-gpu[cuda,cudnn]'")


def _choose_cuda_extra(report: DeviceReport) -> str:
    """Return the extra with the package for the driver's CUDA; pycuda, compiled on the device, serves any."""
    major = str(report.gpu.get("cuda", "")).partition(".")[0]
    return f"cuda{major}" if major in ("12", "13") else "tensorrt"


def _conditions(report: DeviceReport) -> Iterator[Advice]:
    fastest = next((mode for mode in report.power_modes if (mode.name or "").startswith("MAXN")), None)
    mode = report.state.power_mode
    if mode is not None and fastest is not None and mode.id != fastest.id:
        problem = f"the power mode is {mode}, which caps the clocks; {fastest} does not"
        yield Advice(problem, f"sudo nvpmodel -m {fastest.id}")
    powersave = [clock.name for clock in report.state.clocks if clock.governor == "powersave"]
    # On x86 this is the name of Intel's ordinary governor, which follows the load.
    if powersave and report.cpu.architecture not in ("x86_64", "AMD64"):
        yield Advice(
            f"the governor of {', '.join(powersave)} is powersave, which stays at the lowest clock",
            "echo schedutil | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
        )
    if report.memory is not None and report.memory.available_mib < _LITTLE_MEMORY:
        problem = f"only {report.memory.available_mib} MiB of memory are free"
        yield Advice(problem, "ps aux --sort=-rss | head")
    hot = [f"{name} {t:.0f} °C" for name, t in report.state.temperatures.items() if t >= _HOT]
    if hot:
        problem = f"it is hot ({', '.join(hot)}) and may be slowed down: cool it"
        yield Advice(problem, f"hmdrn profile {shlex.quote(report.bundle)}")


def _additions(report: DeviceReport) -> Iterator[Advice]:
    if "error" in report.gpu and report.int8 and "int8-ort" not in report.choice["variants"]:
        yield Advice(
            "this CPU multiplies 8-bit numbers exactly and quickly, and the bundle has no INT8 variant",
            "hmdrn-export --precision int8 --calibration PHOTOS",
        )
    if "error" in report.opencv:
        problem = f"cameras and videos need OpenCV, which cannot be imported: {report.opencv['error']}"
        reinstall = "pip install --force-reinstall opencv-python-headless"
        yield Advice(problem, _OLDER_NUMPY if _OLDER_NUMPY in problem else reinstall)
    if report.missing_extras:
        extras = [f"{extra} ({' '.join(packages)})" for extra, packages in report.missing_extras.items()]
        yield Advice(
            f"optional parts that are not installed, from a checkout of hmdrn: {', '.join(extras)}",
            f"pip install '.[{','.join(report.missing_extras)}]'",
        )
