"""What share of this machine's peak every stage achieves: multiply-adds and bytes over a large GEMM and copy.

python -m benchmarks.roofline [--threads 1] [--allow-busy] [--json]

A stage can be done no sooner than its multiply-adds at the rate of a large matrix product, nor than its bytes
at that of a large copy (Williams et al., "Roofline", CACM 2009). The share is the longer of the two over the
time that it took. Bytes are what the operators of a graph read and write, each by itself, as ONNX Runtime
executes them; what stays in a cache comes faster than a copy, so that a stage may exceed its roof by bytes.
Matching counts as the full FP32 product, whatever is spared of it.
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
from benchmarks.common import Bench, Result, Table, main
from benchmarks.work import NodeWork, Peak, Stage, graph_work, stage_of
from hmdrn_runtime.images.preprocessing import INPUT_SIZE, RESIZE, prepare
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.profiling.inputs import (
    FRAME_SIZE,
    PHOTO_SIZE,
    camera_frame,
    enroll_drawn,
    gallery_of,
    jpeg_photo,
)
from hmdrn_runtime.profiling.timing import Call
from hmdrn_runtime.recognizer import Recognizer

_GEMM = 2048
_COPY = 64 << 20
_SPECIES = 1000
_BATCH = 32
_INPUT_BYTES = INPUT_SIZE * INPUT_SIZE * 3


def options(parser: argparse.ArgumentParser) -> None:
    """What to measure."""
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the peak and of all stages")


def measure_peak(bench: Bench, threads: int) -> Peak:
    """A large product and a large copy, by torch."""
    torch.set_num_threads(threads)
    left, right, out = (torch.rand(_GEMM, _GEMM) for _ in range(3))
    source, target = torch.rand(_COPY), torch.rand(_COPY)
    times = bench.in_turns(
        {"product": lambda: torch.mm(left, right, out=out), "copy": lambda: target.copy_(source)}, block=0.0
    )
    return Peak(_GEMM**3 / float(times["product"].min()), 2 * 4 * _COPY / float(times["copy"].min()))


def measure(bench: Bench) -> Result:
    """The peak, then every stage."""
    threads = bench.arguments.threads
    peak = measure_peak(bench, threads)
    birds = hmdrn.load("default", threads=threads)
    enroll_drawn(birds, 5)
    stages = [*photo_stages(bench, birds), *graph_stages(bench, birds, threads)]
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


def photo_stages(bench: Bench, birds: Recognizer) -> list[Stage]:
    """Preprocessing: a source that is read once, and an image of 84 x 84 that is written once.

    Multiply-adds are those of Pillow's bilinear resize, of two taps for every pixel that is read in each of
    its two passes; decoding a JPEG has others that are not counted.
    """
    mode = birds.bundle.manifest.input.preprocessing
    found = []
    for name, source, read, (width, height) in (
        ("JPEG to input", jpeg_photo(), len(jpeg_photo()) + 3 * PHOTO_SIZE[0] * PHOTO_SIZE[1], PHOTO_SIZE),
        ("frame to input", camera_frame(), camera_frame().nbytes, FRAME_SIZE),
    ):
        macs = 2 * 3 * (width * height + RESIZE * width * height / max(width, height))
        latency = bench.latency(lambda source=source: prepare_query(source, mode))  # type: ignore[misc]
        found.append(Stage(name, latency.p50 / 1e3, macs, read + _INPUT_BYTES))
    return found


def graph_stages(bench: Bench, birds: Recognizer, threads: int) -> list[Stage]:
    """The graphs as they run, and the parts of `encode` by the profiler's shares of its time."""
    backend, matcher, network = birds.backend, birds.matcher, birds.bundle.manifest.network
    photo = prepare(jpeg_photo(), birds.bundle.manifest.input.preprocessing)[None]
    batch = np.repeat(photo, _BATCH, axis=0)
    species = list(birds.gallery.species.values())
    few = matcher.class_operands(species)["operator"]
    sums: npt.NDArray[np.float32] = backend.run("enroll", {"images": photo})["support_gram"]

    def nodes(graph: str, **inputs: npt.NDArray[Any]) -> list[NodeWork]:
        return graph_work(birds.bundle.graph_path(graph), inputs, threads)

    def timed(call: Callable[[], object]) -> float:
        return bench.latency(call).p50 / 1e3

    def stage(name: str, graph: str, **inputs: npt.NDArray[Any]) -> Stage:
        placed = {key: backend.place(value) if key == "operator" else value for key, value in inputs.items()}
        return stage_of(name, timed(lambda: backend.run(graph, placed)), nodes(graph, **inputs))

    encode = nodes("encode", images=photo)
    whole = stage("network (encode)", "encode", images=photo)
    profiled = sum(node.seconds for node in encode)
    parts = []
    for name, prefix in (("backbone", "backbone"), ("transformers", "transformers")):
        some = [node for node in encode if node.name.startswith(prefix)]
        spent = whole.seconds * sum(node.seconds for node in some) / profiled
        parts.append(stage_of(f"  {name} within it", spent, some))
    rest = [node for node in encode if not node.name.startswith(("backbone", "transformers"))]
    spent = whole.seconds * sum(node.seconds for node in rest) / profiled
    parts.append(stage_of("  normalising, Gram, layout within it", spent, rest))
    calls: dict[str, Call] = {
        "without": lambda: backend.run("encode", {"images": photo}),
        "with": _classifying(birds, photo, _SPECIES),
    }
    times = bench.in_turns(calls, block=0.0)
    entries = _SPECIES * network.packed
    matching = max(float(np.median(times["with"] - times["without"])), 1e-9)
    return [
        whole,
        *parts,
        Stage(f"matching {_SPECIES} species", matching, entries, 4 * (entries + network.packed)),
        stage("network and matching, 5 species", "classify", images=photo, operator=few),
        stage(f"network, {_BATCH} photos", "encode", images=batch),
        stage("enrollment's network", "enroll", images=photo),
        stage("solve of a species", "solve", gram=sums, shots=np.ones(1, np.float32)),
    ]


def _classifying(birds: Recognizer, photo: npt.NDArray[np.uint8], species: int) -> Call:
    """Classifying among many species, wherever they are matched."""
    larger = Recognizer(birds.bundle, birds.backend, gallery_of(birds.gallery, species))
    operands = larger.generations.current().operands
    return lambda: larger.matcher.classify(photo, operands)


if __name__ == "__main__":
    sys.exit(main("roofline/1", __doc__, measure, options))
