"""`hmdrn doctor`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import click

from hmdrn.cli.engine_check import describe_engine_check
from hmdrn.cli.options import json_option
from hmdrn.cli.output import print_facts, print_json
from hmdrn.doctor.advice import advise
from hmdrn.doctor.redaction import private_folders, private_names, redact
from hmdrn.doctor.report import DeviceReport, collect_report
from hmdrn.loading import DEFAULT
from hmdrn_runtime.backends.tensorrt.cuda.base import describe_package
from hmdrn_runtime.device.clocks import Clock
from hmdrn_runtime.device.power import find_module_input
from hmdrn_runtime.device.thermal import find_hottest


@click.command("doctor")
@click.argument("bundle", default=DEFAULT, metavar="[BUNDLE]")
@json_option
def command(bundle: str, as_json: bool) -> int:
    """Show what this device has, what hmdrn uses of it for BUNDLE and why, and what to do next.

    Add the output of --json to a bug report: it names neither user nor host, no folders and no serial
    numbers. The exit code is 0 unless something that is needed is broken.

    Example: hmdrn doctor default
    """
    report = collect_report(bundle)
    advice = advise(report)
    broken = any(item.needed for item in advice)
    if as_json:
        items = [dataclasses.asdict(item) for item in advice]
        values = {**dataclasses.asdict(report), "works": not broken, "advice": items}
        print_json("doctor", redact(values, private_names(), private_folders(bundle)))
    else:
        print_facts("this device", list(_device_facts(report)))
        print_facts("its software", list(_software_facts(report)))
        print_facts(f"for bundle {report.bundle}", list(_choice_facts(report)))
        for i, item in enumerate(advice):
            click.echo(f"{'then' if i else 'next'}: {item.command}\n      {item.what}")
    return 2 if broken else 0


def _device_facts(report: DeviceReport) -> Iterator[tuple[str, str]]:
    cpu, state, jetson = report.cpu, report.state, report.jetson
    if jetson is not None:
        release = f"L4T {jetson.l4t or 'unknown'}, JetPack {jetson.jetpack or 'unknown'}"
        yield "board", f"{jetson.model or 'a Jetson'} ({release})"
    yield "CPU", f"{cpu.model}, {cpu.cores} cores, {cpu.architecture}"
    yield "CPU features", ", ".join(cpu.features) or "none that matter here"
    yield "INT8 on it", _describe_int8(report)
    if report.memory is not None:
        yield "memory", f"{report.memory.total_mib} MiB, {report.memory.available_mib} MiB of it available"
    if "error" in report.gpu:
        yield "GPU", f"none that can be used: {report.gpu['error']}"
    else:
        yield "GPU", f"{report.gpu['name']}, compute capability {report.gpu['compute_capability']}"
    if (gpu := report.gpu_state) is not None:
        values = {"°C": gpu.celsius, "MHz": gpu.mhz, "W": gpu.watts, "MiB free": gpu.free_mib}
        yield "GPU now", ", ".join(f"{v:.0f} {unit}" for unit, v in values.items() if v is not None)
    if state.power_mode is not None:
        yield "power mode", str(state.power_mode)
    yield "clocks", "\n".join(map(_describe_clock, state.clocks[:8])) or "the kernel does not say"
    sensor = find_hottest(state.temperatures)
    yield "temperature", f"{sensor[1]:.0f} °C ({sensor[0]})" if sensor else "no sensor"
    if (rail := find_module_input(state.rails)) is not None:
        yield "power drawn", f"{rail.watts:.1f} W ({rail.name})"


def _describe_int8(report: DeviceReport) -> str:
    if report.int8:
        return "exact"
    if str(report.choice.get("variant")).startswith("int8"):
        return "exact, and faster by the stored profile"
    if "NEON" in report.cpu.features:
        return "passed over: without SDOT it is hardly faster than FP32"
    return "passed over: without VNNI, sums of 8-bit products are cut off"


def _software_facts(report: DeviceReport) -> Iterator[tuple[str, str]]:
    yield "hmdrn", f"{report.hmdrn}, Python {report.python}, {report.system}"
    yield "TensorRT", report.tensorrt.get("version") or f"no: {report.tensorrt['error']}"
    driver, toolkit = report.gpu.get("cuda"), f"toolkit {report.cuda_toolkit or 'not installed'}"
    yield "CUDA", f"driver up to {driver}, {toolkit}" if driver else toolkit
    yield "CUDA package", _describe_package(report.cuda_bindings)
    yield "ONNX Runtime", report.onnxruntime.get("version") or f"no: {report.onnxruntime['error']}"
    for name, problem in report.providers.items():
        yield f"  {name}", "works" if problem is None else f"listed, but {problem}"
    if report.opencv:
        yield "OpenCV", report.opencv.get("version") or f"no: {report.opencv['error']}"


def _describe_package(answer: Mapping[str, Any]) -> str:
    if "error" in answer:
        return f"no: {answer['error']}"
    return describe_package(answer["name"], answer["captures_graphs"])


def _choice_facts(report: DeviceReport) -> Iterator[tuple[str, str]]:
    if "error" in report.choice:
        yield "nothing", str(report.choice["error"])
        return
    yield "used", f"backend {report.choice['backend']}, variant {report.choice['variant']}"
    if check := report.choice.get("engine_check"):
        yield "checked", describe_engine_check(check)
    stored = report.choice.get("stored_profile") or {"issue": None, "milliseconds": {}}
    if stored["issue"]:
        yield "stored profile", f"ignored: {stored['issue']}"
    elif stored["milliseconds"]:
        times = ", ".join(f"{name} {time:.3g} ms" for name, time in stored["milliseconds"].items())
        yield "stored profile", f"{times}, measured {stored['measured_at']}"
    for key in ("not_used", "passed_over"):
        for name, reason in report.choice[key].items():
            yield f"not {name}", str(reason)


def _describe_clock(clock: Clock) -> str:
    now, largest = ("?" if mhz is None else f"{mhz:.0f}" for mhz in (clock.mhz, clock.max_mhz))
    return (
        f"{clock.name}: {now} of {largest} MHz, {'locked' if clock.locked else clock.governor or 'unknown'}"
    )
