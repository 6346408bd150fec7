"""Shared parts of the benchmarks: options, load checks, thread counts, tables and JSON.

Timing and its statistics come from the runtime (`hmdrn_runtime.profiling`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

import numpy as np

from benchmarks.load_monitor import LoadMonitor
from hmdrn.cli.messages import print_message
from hmdrn.cli.output import print_facts, print_table
from hmdrn_runtime.device.cpu import read_cpu
from hmdrn_runtime.device.state import read_state
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.conditions import read_load_average
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, TimingPlan, time_interleaved, time_single_stream

THREADS = tuple(sorted({1, min(2, os.cpu_count() or 1)}))
"""Thread counts to try."""
_PACKAGES = ("hmdrn", "numpy", "pillow", "onnxruntime", "torch", "openvino", "onnx")
_PILOT = TimingPlan(seconds=0.3, runs=5, warmup=0.1, limit=2.0)


@dataclass(frozen=True)
class Table:
    """A table to print."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Result:
    """Result of a benchmark: JSON-ready values and tables to print."""

    values: Mapping[str, Any]
    tables: Sequence[Table]


@dataclass(frozen=True)
class BenchmarkRun:
    """Options, plan and load monitor of one run of a benchmark.

    Attributes:
        arguments: Parsed options.
        plan: Duration of each measurement.
        load_monitor: Checks for other load.
    """

    arguments: argparse.Namespace
    plan: TimingPlan
    load_monitor: LoadMonitor

    def time_interleaved(self, calls: Mapping[str, Call], block: float = 0.03) -> dict[str, np.ndarray]:
        """Time calls in turns as `timing.time_interleaved` does, checking for other load."""
        return time_interleaved(calls, self.plan, block, self.load_monitor.check)

    def latency(self, call: Call) -> Latency:
        """Measure the latency of a call, checking for other load."""
        return Latency.from_seconds(time_single_stream(call, self.plan, self.load_monitor.check))

    def find_best_threads(self, make: Callable[[int], Call]) -> tuple[int, Call]:
        """Find the faster thread count as `find_best_threads` does, checking for other load."""
        return find_best_threads(make, self.load_monitor.check)


def find_best_threads(make: Callable[[int], Call], after: Call = lambda: None) -> tuple[int, Call]:
    """Return the faster of 1 and 2 threads in a short trial, and the call made for it."""
    calls = {threads: make(threads) for threads in THREADS}
    medians = {
        threads: float(np.median(time_single_stream(call, _PILOT, after))) for threads, call in calls.items()
    }
    best = min(medians, key=lambda threads: medians[threads])
    return best, calls[best]


Measure: TypeAlias = Callable[[BenchmarkRun], Result]


def main(
    name: str,
    description: str | None,
    measure: Measure,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    plan: TimingPlan = TimingPlan(seconds=2.0, runs=50, limit=10.0),  # noqa: B008 - frozen
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a benchmark as a command.

    Args:
        name: End of the JSON schema, e.g. "rivals/1".
        description: Help text.
        measure: Runs the measurements.
        add_options: Adds the benchmark's options to the parser.
        plan: Duration of a measurement, unless --seconds and --runs are options.
        arguments: Command line; that of the process if None.

    Returns:
        The exit code: 0, or 2 if other processes use the processor or the input is at fault.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument(
        "--seconds", type=float, default=plan.seconds, help="minimum duration of a measurement"
    )
    parser.add_argument("--runs", type=int, default=plan.runs, help="minimum runs of a measurement")
    parser.add_argument(
        "--allow-busy", action="store_true", help="measure even if other processes use the processor"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    monitor = LoadMonitor(options.allow_busy)
    limit = max(plan.limit * options.seconds / plan.seconds, options.seconds)
    chosen = TimingPlan(options.seconds, options.runs, min(plan.warmup, options.seconds), limit)
    load, start, before = read_load_average(), time.monotonic(), read_state()
    try:
        monitor.start()
        result = measure(BenchmarkRun(options, chosen, monitor))
        monitor.check()
    except HmdrnError as error:
        print_message(str(error), name.partition("/")[0])
        return error.exit_code
    conditions = {
        "machine": _describe_machine(),
        "load_average": load,
        "quiet": monitor.to_dict(),
        "device_before": asdict(before),
        "device_after": asdict(read_state()),
        "threads_tried": list(THREADS),
        "plan": {"seconds": chosen.seconds, "runs": chosen.runs},
        "seconds": round(time.monotonic() - start, 1),
    }
    if options.json:
        json.dump({"schema": f"hmdrn.benchmark.{name}", **conditions, **result.values}, sys.stdout, indent=2)
        print()
        return 0
    for table in result.tables:
        print_table(table.title, table.columns, table.rows)
    print_facts("", _list_facts(conditions, monitor))
    return 0


def print_values(name: str, values: Mapping[str, Any], as_json: bool) -> None:
    """Print the values of a benchmark with a version of its JSON, such as "card/1": as JSON, or as facts."""
    if as_json:
        json.dump({"schema": f"hmdrn.benchmark.{name}", **values}, sys.stdout, indent=2)
        print()
        return
    print_facts("", [(key.replace("_", " "), str(value)) for key, value in values.items()])


def format_ms(seconds: float) -> str:
    """Format seconds as milliseconds with three significant digits."""
    return f"{1e3 * seconds:.3g} ms"


def _describe_machine() -> dict[str, Any]:
    cpu = read_cpu()
    return {
        "cpu": cpu.model,
        "cores": cpu.cores,
        "features": list(cpu.features),
        "python": platform.python_version(),
        "packages": {name: installed for name in _PACKAGES if (installed := _find_version(name))},
    }


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _list_facts(conditions: Mapping[str, Any], monitor: LoadMonitor) -> list[tuple[str, str]]:
    machine = conditions["machine"]
    readings = [f"{used:.2f}" for used in (monitor.before, monitor.peak) if used is not None]
    others = f"{' and at most '.join(readings)} cores, before and meanwhile" if readings else "not known here"
    verdict = "; too much: NO FIGURE OF THIS RUN COUNTS" if monitor.busy else ""
    return [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['features'])}"),
        ("packages", ", ".join(f"{name} {v}" for name, v in machine["packages"].items())),
        ("used by others", others + verdict),
        ("took", f"{conditions['seconds']:.0f} s"),
    ]
