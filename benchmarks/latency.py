"""Time from a photo to its prediction: stages, share of preprocessing, and the gain of a batch.

python -m benchmarks.latency [--bundle default] [--allow-busy] [--json]

Sources are the bytes of a JPEG (500x375) and a camera frame (1920x1080); five species have 5 photos each.
Preprocessing runs on one core whatever the thread count, which is the faster of 1 and 2 from a JPEG to its
prediction. The batch holds prepared photos.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from functools import partial

import numpy as np

import hmdrn
from benchmarks.common import BenchmarkRun, Result, Table, main
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.profiling.inputs import enroll_drawn
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.profile import SOURCES
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.stages import STAGES, measure_stages
from hmdrn_runtime.profiling.timing import Call

BATCH = 32


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--bundle", default="default")


def measure(run: BenchmarkRun) -> Result:
    """Measure both sources, and a batch against single photos."""
    recognizers = {}

    def make_call(threads: int) -> Call:
        recognizers[threads] = hmdrn.load(run.arguments.bundle, threads=threads)
        enroll_drawn(recognizers[threads], 5)
        return partial(recognizers[threads].classify, SOURCES["jpeg"]())

    threads, _ = run.find_best_threads(make_call)
    birds = recognizers[threads]
    sources = {
        name: measure_stages(birds, make(), run.plan, run.load_monitor.check)
        for name, make in SOURCES.items()
    }
    pixels = [prepare(SOURCES["jpeg"](), birds.preprocessing)] * BATCH
    times = run.time_interleaved(
        {"single": lambda: birds.classify(pixels[0]), "batch": lambda: birds.classify_batch(pixels)}
    )
    gain = ratio_of_medians(BATCH * times["single"], times["batch"])
    batch = {name: asdict(Latency.from_seconds(seconds)) for name, seconds in times.items()}
    rows = []
    for name, timing in sources.items():
        stages = [f"{timing.stages[s].p50:.3f}" if s in timing.stages else "-" for s in STAGES]
        rows.append([name, *stages, f"{timing.total.p50:.3f}", f"{timing.preprocessing_share:.0%}"])
    single, batched = (1 / np.median(times["single"]), BATCH / np.median(times["batch"]))
    return Result(
        {
            "bundle": run.arguments.bundle,
            "variant": birds.bundle.variant,
            "threads": threads,
            "sources": {name: timing.to_dict() for name, timing in sources.items()},
            "batch": {**batch, "photos": BATCH, "throughput_ratio": asdict(gain)},
        },
        [
            Table(
                f"from photo to prediction, {threads} threads, median ms",
                ["source", *STAGES, "total", "preprocessing"],
                rows,
            ),
            Table(
                "prepared photos",
                ["photos a second, one by one", f"in batches of {BATCH}", "ratio"],
                [[f"{single:.0f}", f"{batched:.0f}", str(gain)]],
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(main("latency/1", __doc__, measure, add_options))
