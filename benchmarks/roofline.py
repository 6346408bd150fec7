"""Share of this machine's peak that each stage achieves, by multiply-adds and bytes.

python -m benchmarks.roofline [--threads 1] [--allow-busy] [--json]

A stage takes at least the time of its multiply-adds at the rate of a large matrix product (GEMM), and of its
bytes at the rate of a large copy (Williams et al., "Roofline", CACM 2009). The share is the longer of the two
over the measured time. Bytes are what each operator of a graph reads and writes as ONNX Runtime executes it;
data in a cache arrives faster than a copy, so a stage may exceed its roof by bytes. Matching counts as the
full FP32 product, even where part of it is skipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import hmdrn
from benchmarks.common import BenchmarkRun, Result, Table, main
from benchmarks.work import NodeWork, Peak, Stage, combine_nodes, profile_graph
from hmdrn_runtime.images.preprocessing import INPUT_SIZE, RESIZE, prepare
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.profiling.inputs import (
    FRAME_SIZE,
    PHOTO_SIZE,
    enroll_drawn,
    make_camera_frame,
    make_jpeg_photo,
    resize_gallery,
)
from hmdrn_runtime.profiling.timing import Call
from hmdrn_runtime.recognizer import Recognizer

_GEMM = 2048
_COPY = 64 << 20
_SPECIES = 1000
_BATCH = 32
_INPUT_BYTES = INPUT_SIZE * INPUT_SIZE * 3


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the peak and of all stages")


def measure_peak(run: BenchmarkRun, threads: int) -> Peak:
    """Measure a large product and a large copy in torch."""
    torch.set_num_threads(threads)
    left, right, out = (torch.rand(_GEMM, _GEMM) for _ in range(3))
    source, target = torch.rand(_COPY), torch.rand(_COPY)
    times = run.time_interleaved(
        {"product": lambda: torch.mm(left, right, out=out), "copy": lambda: target.copy_(source)}, block=0.0
    )
    return Peak(_GEMM**3 / float(times["product"].min()), 2 * 4 * _COPY / float(times["copy"].min()))


def measure(run: BenchmarkRun) -> Result:
    """Measure the peak, then every stage."""
    threads = run.arguments.threads
    peak = measure_peak(run, threads)
    birds = hmdrn.load("default", threads=threads)
    enroll_drawn(birds, 5)
    stages = [*measure_preprocessing(run, birds), *measure_graphs(run, birds, threads)]
    rows = [
        [
            stage.name,
            f"{1e3 * stage.seconds:.3f}",
            f"{stage.macs / 1e6:.2f}",
            f"{stage.bytes / 1e6:.2f}",
            f"{1e3 * stage.roof(peak):.3f}",
            stage.bound(peak),
            f"{stage.share(peak):.0%}",
        ]
        for stage in stages
    ]
    entries = [
        {
            **asdict(stage),
            "roof_seconds": stage.roof(peak),
            "share": stage.share(peak),
            "bound": stage.bound(peak),
        }
        for stage in stages
    ]
    title = (
        f"{threads} threads; peak {peak.macs / 1e9:.1f} G multiply-adds, {peak.bytes / 1e9:.1f} GB a second"
    )
    columns = ["stage", "ms", "M multiply-adds", "MB", "at least, ms", "bound by", "achieved"]
    return Result(
        {"threads": threads, "peak": asdict(peak), "stages": entries}, [Table(title, columns, rows)]
    )


def measure_preprocessing(run: BenchmarkRun, birds: Recognizer) -> list[Stage]:
    """Measure preprocessing: the source is read once, and an image of 84 x 84 is written once.

    Multiply-adds are those of Pillow's bilinear resize, two taps for each pixel read in each of its two
    passes; those of decoding a JPEG are not counted.
    """
    mode = birds.bundle.manifest.input.preprocessing
    stages = []
    for name, source, read, (width, height) in (
        (
            "JPEG to input",
            make_jpeg_photo(),
            len(make_jpeg_photo()) + 3 * PHOTO_SIZE[0] * PHOTO_SIZE[1],
            PHOTO_SIZE,
        ),
        ("frame to input", make_camera_frame(), make_camera_frame().nbytes, FRAME_SIZE),
    ):
        macs = 2 * 3 * (width * height + RESIZE * width * height / max(width, height))
        latency = run.latency(lambda source=source: prepare_query(source, mode))  # type: ignore[misc]
        stages.append(Stage(name, latency.p50 / 1e3, macs, read + _INPUT_BYTES))
    return stages


def measure_graphs(run: BenchmarkRun, birds: Recognizer, threads: int) -> list[Stage]:
    """Measure the graphs as they run, and the parts of `encode` by the profiler's shares of its time."""
    backend, matcher, network = birds.backend, birds.matcher, birds.bundle.manifest.network
    photo = prepare(make_jpeg_photo(), birds.bundle.manifest.input.preprocessing)[None]
    batch = np.repeat(photo, _BATCH, axis=0)
    species = list(birds.gallery.species.values())
    few = matcher.class_operands(species)["operator"]
    sums: npt.NDArray[np.float32] = backend.run("enroll", {"images": photo})["support_gram"]

    def profile(graph: str, **inputs: npt.NDArray[Any]) -> list[NodeWork]:
        return profile_graph(birds.bundle.graph_path(graph), inputs, threads)

    def time_call(call: Callable[[], object]) -> float:
        return run.latency(call).p50 / 1e3

    def measure_stage(name: str, graph: str, **inputs: npt.NDArray[Any]) -> Stage:
        placed = {key: backend.place(value) if key == "operator" else value for key, value in inputs.items()}
        return combine_nodes(name, time_call(lambda: backend.run(graph, placed)), profile(graph, **inputs))

    encode = profile("encode", images=photo)
    whole = measure_stage("network (encode)", "encode", images=photo)
    profiled = sum(node.seconds for node in encode)
    parts = []
    for name, prefix in (("backbone", "backbone"), ("transformers", "transformers")):
        part = [node for node in encode if node.name.startswith(prefix)]
        seconds = whole.seconds * sum(node.seconds for node in part) / profiled
        parts.append(combine_nodes(f"  {name} within it", seconds, part))
    rest = [node for node in encode if not node.name.startswith(("backbone", "transformers"))]
    seconds = whole.seconds * sum(node.seconds for node in rest) / profiled
    parts.append(combine_nodes("  normalizing, Gram, layout within it", seconds, rest))
    calls: dict[str, Call] = {
        "without": lambda: backend.run("encode", {"images": photo}),
        "with": _make_classification(birds, photo, _SPECIES),
    }
    times = run.time_interleaved(calls, block=0.0)
    entries = _SPECIES * network.packed
    matching = max(float(np.median(times["with"] - times["without"])), 1e-9)
    return [
        whole,
        *parts,
        Stage(f"matching {_SPECIES} species", matching, entries, 4 * (entries + network.packed)),
        measure_stage("network and matching, 5 species", "classify", images=photo, operator=few),
        measure_stage(f"network, {_BATCH} photos", "encode", images=batch),
        measure_stage("enrollment's network", "enroll", images=photo),
        measure_stage("solve of a species", "solve", gram=sums, shots=np.ones(1, np.float32)),
    ]


def _make_classification(birds: Recognizer, photo: npt.NDArray[np.uint8], species: int) -> Call:
    """Return a classification among many species, matched in the graph or outside as in use."""
    larger = Recognizer(birds.bundle, birds.backend, resize_gallery(birds.gallery, species))
    operands = larger.solved_gallery.current().operands
    return lambda: larger.matcher.classify(photo, operands)


if __name__ == "__main__":
    sys.exit(main("roofline/1", __doc__, measure, add_options))
