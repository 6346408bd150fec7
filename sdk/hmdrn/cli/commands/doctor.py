"""`hmdrn doctor`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import click

from hmdrn.cli.options import json_option, print_facts, print_json
from hmdrn.doctor.advice import Advice, advise
from hmdrn.doctor.redaction import folders, names, scrubbed
from hmdrn.doctor.report import Facts, collect
from hmdrn.loading import DEFAULT
from hmdrn_runtime.device.clocks import Clock
from hmdrn_runtime.device.power import module_input
from hmdrn_runtime.device.thermal import hottest


@click.command("doctor")
@click.argument("bundle", default=DEFAULT, metavar="[BUNDLE]")
@json_option
def command(bundle: str, as_json: bool) -> int:
    """Show what this device has, what would be used of it for BUNDLE and why, and what to do next.

    With --json it is what a bug report should have: it names neither user nor host, no folders and no
    serial numbers. The exit code is 0 unless something that is needed is broken.

    Example: hmdrn doctor default
    """
    facts = collect(bundle)
    advice = advise(facts)
    broken = any(one.needed for one in advice)
    if as_json:
        report = {
            **facts.to_dict(),
            "works": not broken,
            "advice": [dataclasses.asdict(one) for one in advice],
        }
        print_json("doctor", scrubbed(report, names(), folders(bundle)))
    else:
        print_facts("this device", list(_device(facts)))
        print_facts("its software", list(_software(facts)))
        print_facts(f"for bundle {bundle}", list(_use(facts)))
        _show(advice)
    return 2 if broken else 0


def _device(facts: Facts) -> Iterator[tuple[str, str]]:
    cpu, state = facts.cpu, facts.state
    if facts.jetson is not None:
        jetson = facts.jetson
        release = f"L4T {jetson.l4t or 'unknown'}, JetPack {jetson.jetpack or 'unknown'}"
        yield "board", f"{jetson.model or 'a Jetson'} ({release})"
    yield "CPU", f"{cpu.model}, {cpu.cores} cores, {cpu.architecture}"
    yield "CPU features", ", ".join(cpu.features) or "none that matter here"
    exact = "exact" if facts.int8 else "passed over: without VNNI, sums of 8-bit products are cut off"
    yield "INT8 on it", exact
    if facts.memory is not None:
        yield "memory", f"{facts.memory.total_mib} MiB, {facts.memory.available_mib} MiB of it available"
    if "error" in facts.gpu:
        yield "GPU", f"none that can be used: {facts.gpu['error']}"
    else:
        yield "GPU", f"{facts.gpu['name']}, compute capability {facts.gpu['compute_capability']}"
    if (gpu := facts.gpu_state) is not None:
        parts = {"°C": gpu.celsius, "MHz": gpu.mhz, "W": gpu.watts, "MiB free": gpu.free_mib}
        yield (
            "GPU now",
            ", ".join(f"{value:.0f} {unit}" for unit, value in parts.items() if value is not None),
        )
    if state.power_mode is not None:
        yield "power mode", str(state.power_mode)
    yield "clocks", "\n".join(map(_clock, state.clocks[:8])) or "the kernel does not tell"
    warmest = hottest(state.temperatures)
    yield "temperature", f"{warmest[1]:.0f} °C ({warmest[0]})" if warmest else "no sensor"
    if (rail := module_input(state.rails)) is not None:
        yield "power drawn", f"{rail.watts:.1f} W ({rail.name})"


def _software(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "hmdrn", f"{facts.hmdrn}, Python {facts.python}, {facts.system}"
    yield "TensorRT", facts.tensorrt.get("version") or f"no: {facts.tensorrt['error']}"
    driver = facts.gpu.get("cuda")
    parts = [f"driver up to {driver}" if driver else "", f"toolkit {facts.cuda_toolkit or 'not installed'}"]
    yield "CUDA", ", ".join(part for part in parts if part)
    yield "ONNX Runtime", facts.onnxruntime.get("version") or f"no: {facts.onnxruntime['error']}"
    for name, problem in facts.providers.items():
        yield f"  {name}", "works" if problem is None else f"listed, but {problem}"


def _use(facts: Facts) -> Iterator[tuple[str, str]]:
    if "error" in facts.choice:
        yield "nothing", str(facts.choice["error"])
        return
    yield "used", f"backend {facts.choice['backend']}, variant {facts.choice['variant']}"
    for key in ("not_used", "passed_over"):
        for name, reason in facts.choice[key].items():
            yield f"not {name}", str(reason)


def _show(advice: tuple[Advice, ...]) -> None:
    for n, one in enumerate(advice):
        click.echo(f"{'next' if n == 0 else 'then'}: {one.command}\n      {one.what}")


def _clock(clock: Clock) -> str:
    chosen = "locked" if clock.locked else clock.governor or "unknown"
    return f"{clock.name}: {_mhz(clock.mhz)} of {_mhz(clock.max_mhz)} MHz, {chosen}"


def _mhz(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"
