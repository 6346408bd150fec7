"""All engines of a bundle, for the device that builds them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from hmdrn_export.bundle_writer.publication import publish_atomically
from hmdrn_export.tensorrt.builder import BuildOptions, build_engine
from hmdrn_export.tensorrt.profiles import ShapeBounds, default_bounds, profile_shapes
from hmdrn_export.tensorrt.samples import Samples
from hmdrn_export.tensorrt.self_check import check_engines
from hmdrn_export.tensorrt.versions import CompilerFeatures, detect_features
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt.engine_files import ENGINES, FINGERPRINT, EngineFiles
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, detect_platform, select_digests
from hmdrn_runtime.backends.tensorrt.trust import is_trusted, trust
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

TIMING_CACHE = "timing.cache"

BackendOpener: TypeAlias = Callable[[Bundle, EngineFiles], Backend]
"""Opens engines of a bundle, which is at the variant of their results."""

_PREFERRED = ("int8-trt", "fp16", "fp32", FLOAT32_OPSET17)
"""Variants to build, best first: a bundle is exported at a lower precision in order to use it."""


@dataclass(frozen=True)
class EngineSource:
    """Variant that engines are built from.

    Attributes:
        variant: The variant of the graphs.
        precision: Precision of the engines, "fp32", "fp16" or "int8".
        by_flags: Half by flags, before strong typing: float32 graphs, with types as in the half graphs.
    """

    variant: str
    precision: str
    by_flags: bool = False


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

    Engines that do not answer as ONNX Runtime on the CPU are not kept: the next higher precision is built.

    Args:
        trt: TensorRT's module.
        bundle: The bundle; its folder gets `engines/<device>/`, which is replaced as a whole.
        gpu: GPU of this device.
        options: Options of the builds.
        report: Receives the progress.
        bounds: Sizes to build for; `default_bounds` if None.
        open_backend: Opens engines, to compare them. Engines built without it are not compared, and run with
            `trust_engines=True` only.
        photographs: Photographs to compare the engines on, as well as on drawn specimens.

    Returns:
        The folder, with a plan for every graph and a fingerprint; the user's state folder records it.

    Raises:
        BackendError: The compiler refuses a graph, no engines are right, or a folder cannot be written.
    """
    features = detect_features(trt)
    manifest = bundle.manifest
    sources = [choose_source(manifest, features, str(trt.__version__))]
    if open_backend is not None and options.dla_core is None:  # accelerators compute in half alone
        sources += _list_safer_sources(manifest, sources[0], features)
    bounds = bounds or default_bounds(manifest.network)
    folder = bundle.path / ENGINES / _name_folder(gpu)
    options = replace(options, timing_cache=_load_timing_cache(folder))
    rejected: dict[str, str] = {}
    with publish_atomically(folder, BackendError) as part:
        for source in sources:
            fitted = bounds if options.dla_core is None else _fit_accelerator(source, bounds)
            plans, timings = _compile_graphs(trt, bundle, source, options, fitted, report)
            options = replace(options, timing_cache=timings)
            for name, plan in plans.items():
                (part / f"{name}.plan").write_bytes(plan)
            fingerprint = Fingerprint(
                platform=detect_platform(trt, gpu),
                variant=source.variant,
                precision=source.precision,
                files=select_digests(manifest, source.variant),
                options={
                    "workspace_mib": options.workspace_mib,
                    "dla_core": options.dla_core,
                    "tf32": False,
                    "profile_sharing": features.profile_sharing,
                    "bounds": asdict(fitted),
                    "timing_cache": hashlib.sha256(timings).hexdigest(),
                },
                plans={name: hashlib.sha256(plan).hexdigest() for name, plan in plans.items()},
            )
            if open_backend is None:
                break
            report(f"checking the {source.precision} engines", 0, 1)
            opened, files = (
                open_bundle(bundle.path, fingerprint.result_variant),
                EngineFiles(part, fingerprint),
            )
            try:
                check = check_engines(opened, open_backend(opened, files), source.precision, photographs)
            except BackendError as error:
                rejected[source.precision] = str(error)
            else:
                fingerprint = replace(fingerprint, check={**asdict(check), "rejected": rejected})
                break
        else:
            reasons = "; ".join(f"{precision}: {reason}" for precision, reason in rejected.items())
            raise BackendError(
                f"{trt.__name__} {trt.__version__} builds wrong engines of {bundle.path} ({reasons}): use "
                "ONNX Runtime, or another version of TensorRT"
            )
        if options.timing_cache:
            (part / TIMING_CACHE).write_bytes(options.timing_cache)
        text = fingerprint.to_json().encode()
        (part / FINGERPRINT).write_bytes(text)
    trust(text, folder)
    return folder


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
    typed = manifest.variants[source.precision if source.by_flags else source.variant]
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
                float32_nodes=list_float32_nodes(manifest) if source.by_flags and half else None,
                quantized=graph.precision == "int8",
            ),
            report,
        )
        plans[name], timings = engine.plan, engine.timing_cache
    return plans, timings


def choose_source(manifest: Manifest, features: CompilerFeatures, version: str) -> EngineSource:
    """Choose the variant of a bundle to build.

    Raises:
        BackendError: The compiler cannot read the operators of any variant.
    """
    readable = [
        name
        for name in _PREFERRED
        if name in manifest.variants and _find_opset(manifest.variants[name]) <= features.newest_opset
    ]
    if not readable:
        raise BackendError(
            f"{features.module} {version} reads ONNX opset {features.newest_opset}, the bundle has "
            f"{_find_opset(manifest.variants['fp32'])}: export it again with hmdrn-export --opset 17, update "
            "to TensorRT 10 (JetPack 6), or use ONNX Runtime"
        )
    best = readable[0]
    if best == "fp16" and not features.strong_typing:
        return EngineSource("fp32", "fp16", by_flags=True)
    precisions = {graph.precision for graph in manifest.variants[best].values()}
    return EngineSource(best, next((p for p in ("int8", "fp16") if p in precisions), "fp32"))


def _list_safer_sources(
    manifest: Manifest, source: EngineSource, features: CompilerFeatures
) -> list[EngineSource]:
    """List the sources of higher precision to try where the engines of one are wrong, the lowest first."""
    sources = []
    if source.precision == "int8" and "fp16" in manifest.variants:
        by_flags = not features.strong_typing
        sources.append(EngineSource("fp32" if by_flags else "fp16", "fp16", by_flags))
    if source.precision != "fp32":
        sources.append(EngineSource("fp32", "fp32"))
    return sources


def list_float32_nodes(manifest: Manifest) -> frozenset[str]:
    """List the nodes that stay float32 in the half graphs, for compilers that take precision from flags."""
    rules = manifest.precision_rules["fp16"]
    return frozenset(name for rule in rules if rule["precision"] == "fp32" for name in rule.get("nodes", ()))


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


def _find_opset(graphs: Mapping[str, Graph]) -> int:
    return max(graph.opset for graph in graphs.values())


def _name_folder(gpu: Gpu) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{gpu.name} sm{gpu.compute_capability}".lower()).strip("-")
