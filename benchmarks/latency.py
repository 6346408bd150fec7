"""From a photograph to its prediction: stages, share of preprocessing, and what a batch gains.

python -m benchmarks.latency [--bundle default] [--allow-busy] [--json]

Sources are a JPEG's bytes (500x375) and a camera's frame (1920x1080), species are 5 with 5 photos each.
Preprocessing runs on one core whatever the number of threads, which is the quicker of 1 and 2 for a frame's
whole way. The batch is of prepared photos.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np

import hmdrn
from benchmarks.common import Bench, Result, Table, main
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.profiling.inputs import enroll_drawn
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.profile import SOURCES
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.stages import STAGES, measure_stages
from hmdrn_runtime.profiling.timing import Call

BATCH = 32


def options(parser: argparse.ArgumentParser) -> None:
    """What to measure."""
    parser.add_argument("--bundle", default="default")


def measure(bench: Bench) -> Result:
    """Both sources, and a batch against single photos."""
    opened = {}

    def whole(threads: int) -> Call:
        opened[threads] = hmdrn.load(bench.arguments.bundle, threads=threads)
        enroll_drawn(opened[threads], 5)
        return partial(opened[threads].classify, SOURCES["jpeg"]())

    threads, _ = bench.best_threads(whole)
    birds = opened[threads]
    sources = {
        name: measure_stages(birds, make(), bench.plan, bench.quiet.look) for name, make in SOURCES.items()
    }
    pixels = [prepare(SOURCES["jpeg"](), birds.bundle.manifest.input.preprocessing)] * BATCH
    times = bench.in_turns(
        {"single": lambda: birds.classify(pixels[0]), "batch": lambda: birds.classify_batch(pixels)}
    )
    gain = ratio_of_medians(BATCH * times["single"], times["batch"])
    batch = {name: Latency.of(seconds).to_dict() for name, seconds in times.items()}
    rows = []
    for source, one in sources.items():
        shown = [f"{one.stages[s].p50:.3f}" if s in one.stages else "-" for s in STAGES]
        rows.append([source, *shown, f"{one.total.p50:.3f}", f"{one.preprocessing_share:.0%}"])
    single, together = (1 / np.median(times["single"]), BATCH / np.median(times["batch"]))
    return Result(
        {
            "bundle": bench.arguments.bundle,
            "variant": birds.bundle.variant,
            "threads": threads,
            "sources": {name: one.to_dict() for name, one in sources.items()},
            "batch": {**batch, "photos": BATCH, "throughput_ratio": gain.to_dict()},
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
                [[f"{single:.0f}", f"{together:.0f}", str(gain)]],
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(main("latency/1", __doc__, measure, options))
