"""Tables of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hmdrn.cli.output import print_facts, print_table
from hmdrn.cold_start import ColdStart
from hmdrn_runtime.device.nvidia import GpuState
from hmdrn_runtime.device.state import DeviceState
from hmdrn_runtime.device.thermal import find_hottest
from hmdrn_runtime.profiling.compare import Comparison
from hmdrn_runtime.profiling.conditions import Conditions
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.result import LatencyPoint, Profile
from hmdrn_runtime.profiling.stages import STAGES

_COLUMNS = ["p50 ms", "p90 ms", "p99 ms", "runs", "spread"]
_OPERATORS = 10
_UNKNOWN = "unknown"


def show_profile(profile: Profile, title: str) -> None:
    """Print all parts that have been measured."""
    print_facts(title, [("species", str(profile.species)), *_condition_facts(profile.conditions)])
    for source, stages in profile.stages.items():
        rows = [[name, *_cells(stages.stages[name])] for name in STAGES if name in stages.stages]
        print_table(
            f"from {source} to prediction: {1e3 / stages.total.mean:.0f} photos a second; "
            f"preprocessing takes {stages.preprocessing_share:.0%} of the time",
            ["stage", *_COLUMNS],
            [*rows, ["total", *_cells(stages.total)]],
        )
    if profile.joules is not None:
        print_facts("", [("energy of a classification", f"{1e3 * profile.joules:.3g} mJ")])
    if profile.enrollment:
        rows = [[name, *_cells(latency)] for name, latency in profile.enrollment.items()]
        print_table("one photo as a new species", ["part", *_COLUMNS], rows)
    _show_points("prepared photos in one call", "photos", profile.batches)
    _show_points("one prepared photo", "species", profile.by_species)
    _show_points("one prepared photo", "CPU threads", profile.by_threads)
    if profile.operators:
        operators = profile.operators[:_OPERATORS]
        print_table(
            f"operators of the graph that classifies, the longest {_OPERATORS}",
            ["operator", "count", "ms", "share"],
            [[o.operator, str(o.count), f"{o.ms:.3f}", f"{o.share:.1%}"] for o in operators],
        )


def show_comparison(comparison: Mapping[str, Comparison], first: str, second: str) -> None:
    """Print how two bundles compare."""
    print_table(
        "in turns; the ratio of medians with its 95 % interval",
        ["from", f"{first}, p50 ms", f"{second} (other), p50 ms", "time over the other's"],
        [
            [source, f"{pair.first.p50:.3f}", f"{pair.second.p50:.3f}", str(pair.ratio)]
            for source, pair in comparison.items()
        ],
    )


def show_cold_start(start: ColdStart) -> None:
    """Print the medians of new processes."""
    print_facts(
        f"cold start, medians of {start.runs} new processes",
        [
            ("import hmdrn", f"{start.import_s:.3f} s"),
            ("hmdrn.load", f"{start.load_s:.3f} s"),
            ("first prediction", f"{start.classify_s:.3f} s"),
            ("together", f"{start.total_s:.3f} s"),
            ("peak memory", _UNKNOWN if start.peak_mib is None else f"{start.peak_mib:.0f} MiB"),
        ],
    )


def _show_points(title: str, axis: str, points: Sequence[LatencyPoint]) -> None:
    if points:
        rows = [[str(p.value), *_cells(p.latency), f"{p.photos_per_second:.0f}"] for p in points]
        print_table(title, [axis, *_COLUMNS, "photos/s"], rows)


def _cells(latency: Latency) -> list[str]:
    times = [f"{ms:.3f}" for ms in (latency.p50, latency.p90, latency.p99)]
    return [*times, str(latency.runs), "-" if latency.spread is None else f"{latency.spread:.1%}"]


def _condition_facts(conditions: Conditions) -> list[tuple[str, str]]:
    before, after = conditions.before, conditions.after
    facts = [
        ("processor", f"{conditions.cpu.model}, {conditions.cpu.cores} cores"),
        ("load before", _UNKNOWN if conditions.load is None else f"{conditions.load:.2f}"),
        ("power mode", str(before.power_mode or _UNKNOWN)),
        ("clocks, before and after", f"{_clocks(before)}; {_clocks(after)}"),
        ("hottest, before and after", f"{_hottest(before)}; {_hottest(after)}"),
    ]
    if conditions.gpu_before is not None and conditions.gpu_after is not None:
        gpu = f"{_gpu(conditions.gpu_before)}; {_gpu(conditions.gpu_after)}"
        facts.append(("GPU, before and after", gpu))
    if conditions.watts is not None:
        facts.append(("mean power of the module", f"{conditions.watts:.2f} W"))
    return facts


def _clocks(state: DeviceState) -> str:
    clocks = [f"{c.name} {c.mhz:.0f} MHz ({c.governor})" for c in state.clocks if c.mhz is not None]
    return ", ".join(clocks) or _UNKNOWN


def _gpu(state: GpuState) -> str:
    values = {"MHz": state.mhz, "°C": state.celsius, "W": state.watts}
    return ", ".join(f"{v:.0f} {unit}" for unit, v in values.items() if v is not None) or _UNKNOWN


def _hottest(state: DeviceState) -> str:
    sensor = find_hottest(state.temperatures)
    return _UNKNOWN if sensor is None else f"{sensor[0]} {sensor[1]:.0f} °C"
