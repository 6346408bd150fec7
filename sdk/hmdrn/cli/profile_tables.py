"""A profile as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hmdrn.cli.options import print_facts, print_table
from hmdrn.cold_start import ColdStart
from hmdrn_runtime.device.nvidia import GpuState
from hmdrn_runtime.device.state import DeviceState
from hmdrn_runtime.device.thermal import hottest
from hmdrn_runtime.profiling.compare import Comparison
from hmdrn_runtime.profiling.conditions import Conditions
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.result import Point, Profile
from hmdrn_runtime.profiling.stages import STAGES

_LATENCY = ["p50 ms", "p90 ms", "p99 ms", "runs", "spread"]
_OPERATORS = 10


def show_profile(profile: Profile, title: str) -> None:
    """Print all that has been measured."""
    print_facts(title, [("species", str(profile.species)), *_condition_facts(profile.conditions)])
    for source, one in profile.stages.items():
        rows = [[name, *_latency(one.stages[name])] for name in STAGES if name in one.stages]
        print_table(
            f"from {source} to prediction: {1e3 / one.total.mean:.0f} photos a second; preprocessing takes "
            f"{one.preprocessing_share:.0%} of the time",
            ["stage", *_LATENCY],
            [*rows, ["total", *_latency(one.total)]],
        )
    if profile.joules is not None:
        print_facts("", [("energy of a classification", f"{1e3 * profile.joules:.3g} mJ")])
    if profile.enrollment:
        rows = [[name, *_latency(latency)] for name, latency in profile.enrollment.items()]
        print_table("one photo as a new species", ["part", *_LATENCY], rows)
    _show_points("prepared photos in one call", "photos", profile.batches)
    _show_points("one prepared photo", "species", profile.by_species)
    _show_points("one prepared photo", "CPU threads", profile.by_threads)
    if profile.operators:
        print_table(
            f"operators of the graph that classifies, the longest {_OPERATORS}",
            ["operator", "count", "ms", "share"],
            [
                [one.operator, str(one.count), f"{one.ms:.3f}", f"{one.share:.1%}"]
                for one in profile.operators[:_OPERATORS]
            ],
        )


def show_comparison(comparison: Mapping[str, Comparison], first: str, second: str) -> None:
    """Print how two bundles compare."""
    print_table(
        "in turns; the ratio of medians with its 95 % interval",
        ["from", f"{first}, p50 ms", f"{second} (other), p50 ms", "time over the other's"],
        [
            [source, f"{one.first.p50:.3f}", f"{one.second.p50:.3f}", str(one.ratio)]
            for source, one in comparison.items()
        ],
    )


def show_cold_start(start: ColdStart) -> None:
    """Print the medians of new processes."""
    memory = "unknown" if start.peak_mib is None else f"{start.peak_mib:.0f} MiB"
    print_facts(
        f"cold start, medians of {start.runs} new processes",
        [
            ("import hmdrn", f"{start.import_s:.3f} s"),
            ("hmdrn.load", f"{start.load_s:.3f} s"),
            ("first prediction", f"{start.classify_s:.3f} s"),
            ("together", f"{start.total_s:.3f} s"),
            ("peak memory", memory),
        ],
    )


def _show_points(title: str, axis: str, points: Sequence[Point]) -> None:
    if points:
        rows = [[str(p.value), *_latency(p.latency), f"{p.photos_per_second:.0f}"] for p in points]
        print_table(title, [axis, *_LATENCY, "photos/s"], rows)


def _latency(latency: Latency) -> list[str]:
    return [
        f"{latency.p50:.3f}",
        f"{latency.p90:.3f}",
        f"{latency.p99:.3f}",
        str(latency.runs),
        "-" if latency.spread is None else f"{latency.spread:.1%}",
    ]


def _condition_facts(conditions: Conditions) -> list[tuple[str, str]]:
    before, after = conditions.before, conditions.after
    facts = [
        ("processor", f"{conditions.cpu.model}, {conditions.cpu.cores} cores"),
        ("load before", "unknown" if conditions.load is None else f"{conditions.load:.2f}"),
        ("power mode", str(before.power_mode) if before.power_mode else "not told"),
        ("clocks, before and after", f"{_clocks(before)}; {_clocks(after)}"),
        ("hottest, before and after", f"{_hottest(before)}; {_hottest(after)}"),
    ]
    if conditions.gpu_before is not None and conditions.gpu_after is not None:
        facts.append(
            ("GPU, before and after", f"{_gpu(conditions.gpu_before)}; {_gpu(conditions.gpu_after)}")
        )
    if conditions.watts is not None:
        facts.append(("mean power of the module", f"{conditions.watts:.2f} W"))
    return facts


def _clocks(state: DeviceState) -> str:
    told = [f"{c.name} {c.mhz:.0f} MHz ({c.governor})" for c in state.clocks if c.mhz is not None]
    return ", ".join(told) or "not told"


def _gpu(state: GpuState) -> str:
    parts = {"MHz": state.mhz, "°C": state.celsius, "W": state.watts}
    told = [f"{value:.0f} {unit}" for unit, value in parts.items() if value is not None]
    return ", ".join(told) or "not told"


def _hottest(state: DeviceState) -> str:
    found = hottest(state.temperatures)
    return "not told" if found is None else f"{found[0]} {found[1]:.0f} °C"
