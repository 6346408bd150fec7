"""Classifying one prepared photo, 5-way 5-shot: hmdrn's runtime against the alternatives.

python -m benchmarks.rivals [--only TEXT] [--allow-busy] [--json]

Every rival runs with the faster of 1 and 2 threads. Before timing, each one that computes the same function
must reproduce the logits of the network in torch. Rivals are timed in turns, each in its own process, and
each ratio is of one run, with its interval.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from benchmarks.common import BenchmarkRun, Result, Table, format_ms, main
from benchmarks.rivals.catalog import RUNTIME, list_rivals
from benchmarks.rivals.episode import make_episode
from benchmarks.rivals.isolated_models import IsolatedModel
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.timing import TimingPlan


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--only", metavar="TEXT", help="only rivals whose name has this text, and hmdrn")


def measure(run: BenchmarkRun) -> Result:
    """Check all rivals, then time them in turns."""
    episode, only = make_episode(), run.arguments.only
    names = [name for name, _ in list_rivals(episode) if name == RUNTIME or not only or only in name]
    models: dict[str, IsolatedModel] = {}
    try:
        for name in names:
            models[name] = IsolatedModel(name)
            run.load_monitor.check()
        times = _time_in_turns(models, run)
    finally:
        for model in models.values():
            model.close()
    latencies = {name: Latency.from_seconds(seconds) for name, seconds in times.items()}
    ratios = {name: ratio_of_medians(seconds, times[RUNTIME]) for name, seconds in times.items()}
    entries = [
        {
            "name": name,
            "threads": models[name].status.threads,
            "logit_difference": models[name].status.logit_difference,
            "latency": asdict(latencies[name]),
            "times_ours": asdict(ratios[name]),
        }
        for name in names
    ]
    rows = [
        [
            name,
            str(models[name].status.threads),
            format_ms(latencies[name].p50 / 1e3),
            str(ratios[name]),
            f"{models[name].status.logit_difference:.1e}",
        ]
        for name in sorted(names, key=lambda name: latencies[name].p50)
    ]
    columns = ["rival", "threads", "median", "times hmdrn (95 %)", "logits off by"]
    return Result(
        {"way": len(episode.support), "shot": episode.support.shape[1], "rivals": entries},
        [Table("one photo, 5-way 5-shot, default model", columns, rows)],
    )


def _time_in_turns(models: Mapping[str, IsolatedModel], run: BenchmarkRun) -> dict[str, np.ndarray]:
    """Return the median seconds of each rival's turns; there are as many turns as `run.plan.runs`."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(run.plan.runs):
        for name, model in models.items():
            seconds[name].append(model.time_turn(run.plan.seconds / run.plan.runs))
            run.load_monitor.check()
    return {name: np.array(values) for name, values in seconds.items()}


if __name__ == "__main__":
    sys.exit(main("rivals/1", __doc__, measure, add_options, TimingPlan(seconds=2.0, runs=40, limit=8.0)))
