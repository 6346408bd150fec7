"""What the benchmarks share: options, a quiet machine, thread counts, tables and JSON.

Timing and its statistics are the runtime's (`hmdrn_runtime.profiling`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

import numpy as np

from benchmarks.quiet import Quiet
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import print_facts, print_table
from hmdrn_runtime.device.cpu import read_cpu
from hmdrn_runtime.device.state import read_state
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.conditions import load_average
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, Plan, in_turns, single_stream

THREADS = tuple(sorted({1, min(2, os.cpu_count() or 1)}))
"""Thread counts that every rival is tried with."""
_PACKAGES = ("hmdrn", "numpy", "pillow", "onnxruntime", "torch", "openvino", "onnx")
_PILOT = Plan(seconds=0.3, runs=5, warmup=0.1, limit=2.0)


@dataclass(frozen=True)
class Table:
    """A table for people."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Result:
    """What a benchmark found: JSON-ready values, and tables."""

    values: Mapping[str, Any]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Bench:
    """What a benchmark measures with.

    Attributes:
        arguments: Its options.
        plan: How long to measure every rival.
        quiet: Watches over the machine.
    """

    arguments: argparse.Namespace
    plan: Plan
    quiet: Quiet

    def in_turns(self, calls: Mapping[str, Call], block: float = 0.03) -> dict[str, np.ndarray]:
        """As `timing.in_turns`, on a quiet machine."""
        return in_turns(calls, self.plan, block, self.quiet.look)

    def latency(self, call: Call) -> Latency:
        """Latency of one call, on a quiet machine."""
        return Latency.of(single_stream(call, self.plan, self.quiet.look))

    def best_threads(self, make: Callable[[int], Call]) -> tuple[int, Call]:
        """As `best_threads`, on a quiet machine."""
        return best_threads(make, self.quiet.look)


def best_threads(make: Callable[[int], Call], after: Call = lambda: None) -> tuple[int, Call]:
    """The quickest of 1 and 2 threads in a short trial, and the call made for it."""
    calls = {threads: make(threads) for threads in THREADS}
    medians = {
        threads: float(np.median(single_stream(call, _PILOT, after))) for threads, call in calls.items()
    }
    best = min(medians, key=lambda threads: medians[threads])
    return best, calls[best]


Measure: TypeAlias = Callable[[Bench], Result]


def main(
    name: str,
    description: str | None,
    measure: Measure,
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    plan: Plan = Plan(seconds=2.0, runs=50, limit=10.0),  # noqa: B008 - frozen
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a benchmark as a command.

    Args:
        name: The end of its JSON's schema, e.g. "rivals/1".
        description: Its help text.
        measure: Does the work.
        options: Adds options of its own.
        plan: How long to measure, unless --seconds and --runs say otherwise.
        arguments: Of the command line; those of the process if None.

    Returns:
        The exit code: 0, or 2 where something else uses the processor or the input is at fault.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(parser)
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="least duration of a measurement")
    parser.add_argument("--runs", type=int, default=plan.runs, help="fewest runs of a measurement")
    parser.add_argument("--allow-busy", action="store_true", help="go on while others use the processor")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    quiet = Quiet(given.allow_busy)
    limit = max(plan.limit * given.seconds / plan.seconds, given.seconds)
    chosen = Plan(given.seconds, given.runs, min(plan.warmup, given.seconds), limit)
    load, start, before = load_average(), time.monotonic(), read_state()
    try:
        quiet.begin()
        result = measure(Bench(given, chosen, quiet))
        quiet.look()
    except HmdrnError as error:
        print_message(str(error), name.partition("/")[0])
        return error.exit_code
    stamp = {
        "machine": _machine(),
        "load_average": load,
        "quiet": quiet.to_dict(),
        "device_before": before.to_dict(),
        "device_after": read_state().to_dict(),
        "threads_tried": list(THREADS),
        "plan": {"seconds": chosen.seconds, "runs": chosen.runs},
        "seconds": round(time.monotonic() - start, 1),
    }
    if given.json:
        json.dump({"schema": f"hmdrn.benchmark.{name}", **stamp, **result.values}, sys.stdout, indent=2)
        print()
        return 0
    for table in result.tables:
        print_table(table.title, table.columns, table.rows)
    print_facts("", _facts(stamp, quiet))
    return 0


def ms(seconds: float) -> str:
    """Seconds as milliseconds, to three digits."""
    return f"{1e3 * seconds:.3g} ms"


def _machine() -> dict[str, Any]:
    cpu = read_cpu()
    return {
        "cpu": cpu.model,
        "cores": cpu.cores,
        "features": list(cpu.features),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _facts(stamp: Mapping[str, Any], quiet: Quiet) -> list[tuple[str, str]]:
    machine = stamp["machine"]
    known = [f"{used:.2f}" for used in (quiet.before, quiet.peak) if used is not None]
    others = f"{' and at most '.join(known)} cores, before and meanwhile" if known else "not known here"
    verdict = {True: "; too much: NO FIGURE OF THIS RUN COUNTS", False: "", None: ""}[quiet.busy]
    return [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['features'])}"),
        ("packages", ", ".join(f"{name} {v}" for name, v in machine["packages"].items())),
        ("used by others", others + verdict),
        ("took", f"{stamp['seconds']:.0f} s"),
    ]
