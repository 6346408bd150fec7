"""All engines of a bundle, for the device that builds them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

from hmdrn_export.bundle_writer.publication import publish_atomically
from hmdrn_export.tensorrt.builder import BuildOptions, build_engine
from hmdrn_export.tensorrt.profiles import ShapeBounds, default_bounds, fit_gallery, profile_shapes
from hmdrn_export.tensorrt.refusal import describe_build, record_refusal
from hmdrn_export.tensorrt.samples import Samples
from hmdrn_export.tensorrt.self_check import check_engines
from hmdrn_export.tensorrt.sources import EngineSource, list_float32_nodes, list_sources
from hmdrn_export.tensorrt.versions import detect_features
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt.engine_files import ENGINES, FINGERPRINT, EngineFiles
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, detect_platform, select_digests
from hmdrn_runtime.backends.tensorrt.trust import is_trusted, trust
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.errors import BackendError, GraphRefusedError, WrongEnginesError
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

TIMING_CACHE = "timing.cache"

BackendOpener: TypeAlias = Callable[[Bundle, EngineFiles], Backend]
"""Opens engines of a bundle, which is at the variant of their results."""


def build_engines(
    trt: Any,
    bundle: Bundle,
    gpu: Gpu,
    options: BuildOptions,
    report: ProgressCallback = ignore_progress,
    bounds: ShapeBounds | None = None,
    open_backend: BackendOpener | None = None,
    photographs: Samples | None = None,
) -> Path:
    """Build every graph of a bundle, in the lowest precision that it was exported at and that proves right.

    Each precision is built strongly typed first, where TensorRT can (10.0), then by flags, where it still has
    them (before 11). What it refuses to compile gives way to the next, and so do engines that do not answer
    as ONNX Runtime on the CPU.

    Args:
        trt: TensorRT's module.
        bundle: The bundle; its folder gets `engines/<device>/`, which is replaced as a whole.
        gpu: GPU of this device.
        options: Options of the builds.
        report: Receives the progress.
        bounds: Sizes to build for; if None the default ones, fitted to the bundle's background.
        open_backend: Opens engines, to compare them. Engines built without it are not compared, and run with
            `trust_engines=True` only.
        photographs: Photographs to compare the engines on, as well as on drawn specimens.

    Returns:
        The folder, with a plan for every graph and a fingerprint; the user's state folder records it.

    Raises:
        BackendError: All graphs are refused or all engines wrong, which is recorded for `find_refusal`. Or
            memory or the GPU failed, or a folder cannot be written: the next build may end otherwise, so
            nothing is recorded.
    """
    features = detect_features(trt)
    manifest = bundle.manifest
    accelerator = options.dla_core is not None
    sources = list_sources(manifest, features, str(trt.__version__), accelerator)
    platform = detect_platform(trt, gpu)
    bounds = bounds or fit_gallery(default_bounds(manifest.network), bundle)
    build = describe_build(bundle, platform, options, bounds, photographs)
    if accelerator:
        bounds = _fit_accelerator(sources[0], bounds)
    folder = locate_engines(bundle, gpu)
    options = replace(options, timing_cache=_load_timing_cache(folder))
    rejected: dict[EngineSource, str] = {}
    with publish_atomically(folder, BackendError) as part:
        for source in sources:
            try:
                plans, timings = _compile_graphs(trt, bundle, source, options, bounds, report)
            except GraphRefusedError as error:
                rejected[source] = str(error)
                continue
            options = replace(options, timing_cache=timings)
            for name, plan in plans.items():
                (part / f"{name}.plan").write_bytes(plan)
            fingerprint = Fingerprint(
                platform=platform,
                variant=source.variant,
                precision=source.precision,
                files=select_digests(manifest, source.variant),
                options={
                    "workspace_mib": options.workspace_mib,
                    "dla_core": options.dla_core,
                    "tf32": False,
                    "strongly_typed": source.strongly_typed,
                    "bounds": asdict(bounds),
                    "timing_cache": hashlib.sha256(timings).hexdigest(),
                },
                plans={name: hashlib.sha256(plan).hexdigest() for name, plan in plans.items()},
            )
            if open_backend is None:
                break
            report(f"checking the {source.precision} engines", 0, 1)
            opened = open_bundle(bundle.path, fingerprint.result_variant)
            try:
                files = EngineFiles(part, fingerprint)
                check = check_engines(opened, open_backend(opened, files), source.precision, photographs)
            except WrongEnginesError as error:
                rejected[source] = str(error)
                continue
            values = {**asdict(check), "rejected": _join_reasons(rejected, sources)}
            fingerprint = replace(fingerprint, check=values)
            break
        else:
            reasons = (f"{name}: {reason}" for name, reason in _join_reasons(rejected, sources).items())
            reason = (
                f"{trt.__name__} {trt.__version__} builds no right engines of {bundle.path} "
                f"({'; '.join(reasons)})"
            )
            if open_backend is not None:
                with suppress(OSError):  # the reason matters more
                    record_refusal(folder, build, reason)
            raise BackendError(f"{reason}: use ONNX Runtime, or another version of TensorRT")
        if options.timing_cache:
            (part / TIMING_CACHE).write_bytes(options.timing_cache)
        text = fingerprint.to_json().encode()
        (part / FINGERPRINT).write_bytes(text)
    trust(text, folder)
    return folder


def _join_reasons(rejected: Mapping[EngineSource, str], sources: Sequence[EngineSource]) -> dict[str, str]:
    """Return the reasons by precision; they name the typing where the compiler has both."""
    both = len({source.strongly_typed for source in sources}) > 1
    reasons: dict[str, str] = {}
    for source, reason in rejected.items():
        text = f"{source.typing}: {reason}" if both else reason
        known = reasons.get(source.precision)
        reasons[source.precision] = f"{known}; {text}" if known else text
    return reasons


def _compile_graphs(
    trt: Any,
    bundle: Bundle,
    source: EngineSource,
    options: BuildOptions,
    bounds: ShapeBounds,
    report: ProgressCallback,
) -> tuple[dict[str, bytes], bytes]:
    """Return the plans of all graphs, and the timings."""
    manifest, timings = bundle.manifest, options.timing_cache
    variant = open_bundle(bundle.path, source.variant)
    graphs = manifest.variants[source.variant]
    typed = manifest.variants[source.precision if source.half_by_flags else source.variant]
    plans: dict[str, bytes] = {}
    for done, (name, graph) in enumerate(graphs.items()):
        report(f"building {source.variant}/{name}", done, len(graphs))
        half = typed[name].precision == "fp16"
        variant.check_graph(name)
        engine = build_engine(
            trt,
            variant.graph_path(name),
            profile_shapes(name, graph, manifest.network.levels, bounds),
            replace(
                options,
                timing_cache=timings,
                dla_core=options.dla_core if half else None,
                strongly_typed=source.strongly_typed,
                float32_nodes=list_float32_nodes(manifest) if source.half_by_flags and half else None,
                quantized=graph.precision == "int8",
            ),
            report,
        )
        plans[name], timings = engine.plan, engine.timing_cache
    return plans, timings


def _load_timing_cache(folder: Path) -> bytes:
    """Load the timings of this user's earlier build on this device, and no others: native code reads them."""
    try:
        text, timings = (folder / FINGERPRINT).read_bytes(), (folder / TIMING_CACHE).read_bytes()
        digest = Fingerprint.from_json(text, str(folder)).options.get("timing_cache")
    except (OSError, BackendError):
        return b""
    return timings if is_trusted(text) and digest == hashlib.sha256(timings).hexdigest() else b""


def _fit_accelerator(source: EngineSource, bounds: ShapeBounds) -> ShapeBounds:
    """Return bounds for a deep-learning accelerator, which allows no free size.

    Raises:
        BackendError: It cannot compute in the engines' precision.
    """
    if source.precision != "fp16":
        raise BackendError(
            f"deep-learning accelerators compute in half, and this bundle's engines are {source.precision}: "
            "export it with --precision fp16, or leave --dla out"
        )
    return replace(bounds, batch=(1, 1, 1))


def locate_engines(bundle: Bundle, gpu: Gpu) -> Path:
    """Return the folder of a bundle's engines for a GPU."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{gpu.name} sm{gpu.compute_capability}".lower()).strip("-")
    return bundle.path / ENGINES / name
