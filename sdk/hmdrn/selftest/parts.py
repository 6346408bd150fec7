"""Parts of the self-test, each run in a process of its own: a library that crashes ends its part alone.

`python -m hmdrn.selftest.parts NAME ARGUMENTS...` prints one line of JSON last.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hmdrn.doctor.probes import answer_call
from hmdrn_runtime.bundle.manifest import Graph

SPECIES, SHOTS, QUERIES = 10, 2, 5
QUICK_SPECIES, QUICK_SHOTS, QUICK_QUERIES = 4, 2, 5
_ANY_ERROR = float("inf")
_ORDER = ("int8", "fp16", "fp32")


def check_package(package: str) -> dict[str, Any]:
    """Copy memory through a package for CUDA, "cuda-python" or "pycuda"."""
    from hmdrn.selftest.adapter import check_adapter
    from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda, open_cuda

    return check_adapter(open_cuda([kind for kind in find_cuda() if kind.package == package]))


def build_part(bundle: str, precision: str, photos: str) -> dict[str, Any]:
    """Build and check the engines of a bundle in its folder; `photos` is a folder, or empty."""
    from hmdrn_export.tensorrt.builder import BuildOptions
    from hmdrn_export.tensorrt.engines import build_engines
    from hmdrn_export.tensorrt.samples import read_samples
    from hmdrn_export.tensorrt.self_check import QUERIES, SHOTS
    from hmdrn_runtime.backends.cuda_driver import find_gpu
    from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda
    from hmdrn_runtime.backends.tensorrt.engine_files import FINGERPRINT
    from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint
    from hmdrn_runtime.backends.tensorrt.open import make_engine_opener
    from hmdrn_runtime.backends.tensorrt.requirements import import_tensorrt, require_all
    from hmdrn_runtime.bundle.bundle import open_bundle
    from hmdrn_runtime.profiling.fresh_process import read_peak_mib

    opened = open_bundle(Path(bundle))
    variants = {
        name: graphs
        for name, graphs in opened.manifest.variants.items()
        if _ORDER.index(find_precision(graphs)) >= _ORDER.index(precision)
    }
    limited = replace(opened, manifest=replace(opened.manifest, variants=variants))
    gpu, trt, _ = require_all(find_gpu, import_tensorrt, find_cuda)
    samples = (
        read_samples(Path(photos), opened.manifest.input.to_preprocessing(), SHOTS, QUERIES)
        if photos
        else None
    )
    opener = make_engine_opener(trt)
    folder = build_engines(trt, limited, gpu, BuildOptions(), open_backend=opener, photographs=samples)
    fingerprint = Fingerprint.from_json((folder / FINGERPRINT).read_bytes(), str(folder))
    answer = {
        "gpu": gpu.name,
        "compiler": fingerprint.platform.compiler,
        "precision": fingerprint.precision,
        "check": fingerprint.check,
        "peak_mib": read_peak_mib(),
    }
    rejected = (fingerprint.check or {}).get("rejected", {})
    if fingerprint.precision != precision:
        reason = rejected.get(precision, "this TensorRT cannot build it from the bundle's graphs")
        answer["problem"] = f"{fingerprint.precision} engines were built, not {precision}: {reason}"
    return answer


def run_part(bundle: str, backend: str, variant: str, photos: str, quick: str) -> dict[str, Any]:
    """Run a bundle on a backend: accuracy, agreement with float32 on the CPU, latency by stage.

    `variant` is empty for the backend's own choice, `photos` for drawn specimens alone, `quick` for the full
    extent.
    """
    from hmdrn.loading import load
    from hmdrn_export.tensorrt.samples import draw_samples, read_samples
    from hmdrn_export.tensorrt.self_check import compare_with_float32, find_excess
    from hmdrn_runtime.profiling.fresh_process import read_peak_mib
    from hmdrn_runtime.profiling.inputs import enroll_drawn, make_jpeg_photo
    from hmdrn_runtime.profiling.stages import measure_stages
    from hmdrn_runtime.profiling.timing import TimingPlan

    recognizer = load(bundle, backend=backend, variant=variant or None)
    report = recognizer.backend_report
    counts = (QUICK_SPECIES, QUICK_SHOTS, QUICK_QUERIES) if quick else (SPECIES, SHOTS, QUERIES)
    samples = {"drawn specimens": draw_samples(recognizer.preprocessing.side, *counts)}
    if photos:
        samples["photographs"] = read_samples(Path(photos), recognizer.preprocessing, *counts[1:])
    checks = {
        kind: compare_with_float32(recognizer.bundle, recognizer.backend, batch, _ANY_ERROR)
        for kind, batch in samples.items()
    }
    precision = find_precision(recognizer.bundle.manifest.variants[recognizer.bundle.variant])
    enroll_drawn(recognizer, QUICK_SPECIES)
    plan = TimingPlan(0.1, 3, 0.0, 1.0) if quick else TimingPlan(1.0, 100, 0.5, 10.0)
    latency = measure_stages(recognizer, make_jpeg_photo(), plan).to_dict()
    answer = {
        "backend": report.backend,
        "variant": report.variant,
        "precision": precision,
        "checks": {kind: asdict(check) for kind, check in checks.items()},
        "latency": latency,
        "peak_mib": read_peak_mib(),
    }
    excess = [
        f"on {kind} {text}" for kind, check in checks.items() if (text := find_excess(check, precision))
    ]
    return {**answer, "problem": "; ".join(excess)} if excess else answer


def find_precision(graphs: Mapping[str, Graph]) -> str:
    """Return the lowest precision of a variant's graphs: "int8", "fp16" or "fp32"."""
    return min((graph.precision for graph in graphs.values()), key=_ORDER.index)


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "build": build_part,
    "cuda": check_package,
    "run": run_part,
}

if __name__ == "__main__":
    answer_call(PARTS, *sys.argv[1:])
