"""From what a device has to what its user should do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from hmdrn.doctor.report import Facts

_LITTLE_MEMORY = 400
_HOT = 85.0
_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        what: What is wrong, or what could be better, in a sentence.
        command: What to run, quoted for a shell.
        needed: Whether the SDK does not work without it.
    """

    what: str
    command: str
    needed: bool = False


def advise(facts: Facts) -> tuple[Advice, ...]:
    """What to do, the most pressing first; never empty."""
    broken = tuple(_broken(facts))
    if broken:
        return broken
    return (*_accelerators(facts), *_conditions(facts), _use(facts), *_variants(facts), *_extras(facts))


def _broken(facts: Facts) -> Iterator[Advice]:
    if "error" in facts.onnxruntime:
        what = f"ONNX Runtime cannot be imported: {facts.onnxruntime['error']}"
        yield Advice(what, "pip install --force-reinstall onnxruntime", needed=True)
    elif facts.providers.get("CPUExecutionProvider", "it is not listed") is not None:
        reason = facts.providers.get("CPUExecutionProvider", "it is not listed")
        what = f"ONNX Runtime does not work on the CPU: {reason}"
        yield Advice(what, "pip install --force-reinstall onnxruntime", needed=True)
    elif "error" in facts.choice:
        what = f"bundle {facts.bundle} does not run here: {facts.choice['error']}"
        other = facts.bundle != "default"
        command = "hmdrn doctor default" if other else "pip install --force-reinstall --no-deps ."
        yield Advice(what, command, needed=True)


def _accelerators(facts: Facts) -> Iterator[Advice]:
    if "error" in facts.gpu:
        if facts.jetson is not None:
            what = f"this is a Jetson, but its GPU does not answer: {facts.gpu['error']}"
            yield Advice(what, "sudo apt-get install --reinstall nvidia-l4t-cuda")
        return
    used = facts.choice["backend"]
    if used == "tensorrt":
        return
    if facts.system_tensorrt:
        yield Advice(
            "the system has TensorRT, but this Python environment does not see it: from a checkout of hmdrn",
            "python3 -m venv --system-site-packages hmdrn-env && hmdrn-env/bin/pip install .",
        )
    elif "error" in facts.tensorrt and facts.jetson is not None:
        what = f"TensorRT, which is fastest on a Jetson, cannot be used: {facts.tensorrt['error']}"
        yield Advice(what, "sudo apt-get install python3-libnvinfer")
    elif "error" not in facts.tensorrt and "error" in facts.cuda_bindings:
        what = f"TensorRT is there, but its memory cannot be managed: {facts.cuda_bindings['error']}"
        yield Advice(what, "pip install '.[tensorrt]'")
    elif "error" not in facts.tensorrt:
        reason = facts.choice["not_used"].get("tensorrt", "it has no engines yet")
        yield Advice(
            f"TensorRT is not used for this bundle: {reason}", f"hmdrn build {shlex.quote(facts.bundle)}"
        )
    if used == "onnxruntime" and facts.jetson is None:
        yield from _cuda_provider(facts)


def _cuda_provider(facts: Facts) -> Iterator[Advice]:
    if _CUDA not in facts.providers:
        yield Advice(
            f"there is a GPU ({facts.gpu['name']}), but the installed ONNX Runtime is for CPUs alone",
            "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
    elif facts.providers[_CUDA] is not None:
        yield Advice(
            f"ONNX Runtime lists the CUDA provider, and {facts.providers[_CUDA]}",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )


def _variants(facts: Facts) -> Iterator[Advice]:
    if "error" in facts.gpu and facts.int8 and "int8-ort" not in facts.choice["variants"]:
        yield Advice(
            "this CPU multiplies 8-bit numbers exactly and quickly, and the bundle has no INT8 variant",
            "hmdrn-export --precision int8 --calibration PHOTOS",
        )


def _conditions(facts: Facts) -> Iterator[Advice]:
    fastest = next((mode for mode in facts.power_modes if (mode.name or "").startswith("MAXN")), None)
    mode = facts.state.power_mode
    if mode is not None and fastest is not None and mode.id != fastest.id:
        what = f"the power mode is {mode}, which caps the clocks; {fastest} does not"
        yield Advice(what, f"sudo nvpmodel -m {fastest.id}")
    saving = [clock.name for clock in facts.state.clocks if clock.governor == "powersave"]
    # Intel's driver calls its ordinary, load-following governor so.
    if saving and facts.cpu.architecture not in ("x86_64", "AMD64"):
        yield Advice(
            f"the governor of {', '.join(saving)} is powersave, which stays at the lowest clock",
            "echo schedutil | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
        )
    if facts.memory is not None and facts.memory.available_mib < _LITTLE_MEMORY:
        what = f"only {facts.memory.available_mib} MiB of memory are free"
        yield Advice(what, "ps aux --sort=-rss | head")
    hot = {name: t for name, t in facts.state.temperatures.items() if t >= _HOT}
    if hot:
        shown = ", ".join(f"{name} {t:.0f} °C" for name, t in hot.items())
        yield Advice(
            f"it is hot ({shown}) and may be slowed down: cool it",
            f"hmdrn profile {shlex.quote(facts.bundle)}",
        )


def _extras(facts: Facts) -> Iterator[Advice]:
    if facts.missing_extras:
        parts = ", ".join(f"{extra} ({' '.join(names)})" for extra, names in facts.missing_extras.items())
        command = f"pip install '.[{','.join(facts.missing_extras)}]'"
        yield Advice(f"optional parts that are not installed, from a checkout of hmdrn: {parts}", command)


def _use(facts: Facts) -> Advice:
    command = f"hmdrn enroll {shlex.quote(facts.bundle)} FOLDER --gallery my.gallery"
    return Advice("the SDK works here: enroll your species, a folder of photos for each", command)
