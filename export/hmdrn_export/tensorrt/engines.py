"""All engines of a bundle for the device that they are built on."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hmdrn_export.tensorrt.builder import BuildOptions, build_engine
from hmdrn_export.tensorrt.profiles import Bounds, default_bounds, shapes
from hmdrn_export.tensorrt.progress import Progress
from hmdrn_export.tensorrt.versions import Dialect, dialect_of_module
from hmdrn_runtime.backends.cuda_driver import Gpu
from hmdrn_runtime.backends.tensorrt.engine_files import ENGINES, FINGERPRINT
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, files_of, platform_of
from hmdrn_runtime.backends.tensorrt.trust import is_trusted, trust
from hmdrn_runtime.bundle.bundle import Bundle, open_bundle
from hmdrn_runtime.bundle.manifest import Graph, Manifest
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.files import reason

TIMING_CACHE = "timing.cache"

_PREFERRED = ("int8-trt", "fp16", "fp32", FLOAT32_OPSET17)
"""Variants that engines are built of: who exported a bundle at a lower precision wants it used."""


@dataclass(frozen=True)
class Source:
    """What engines are built of.

    Attributes:
        variant: The graphs.
        precision: What the engines compute in, "fp32", "fp16" or "int8".
        by_flags: Half by flags, before strong typing: built of the float32 graphs, of which the nodes stay
            float32 that are so in the half graphs.
    """

    variant: str
    precision: str
    by_flags: bool = False

    @property
    def of(self) -> str:
        """The variant whose graphs say what precision each is in."""
        return self.precision if self.by_flags else self.variant


def build_engines(
    trt: Any,
    bundle: Bundle,
    gpu: Gpu,
    options: BuildOptions,
    report: Progress = lambda what, done, of: None,
    bounds: Bounds | None = None,
) -> Path:
    """Build every graph of a bundle, in the lowest precision that it was exported at.

    Args:
        trt: TensorRT's module.
        bundle: The bundle; its folder gets `engines/<device>/`, which is replaced as a whole.
        gpu: The GPU that is built on.
        options: How to build.
        report: Told of the progress.
        bounds: Sizes to build for.

    Returns:
        The folder, with a plan for every graph and the fingerprint that says what they are for. That they
        were built here is noted in the user's state folder.

    Raises:
        BackendError: The compiler refuses a graph, or a folder cannot be written.
    """
    dialect = dialect_of_module(trt)
    manifest = bundle.manifest
    chosen = choose_source(manifest, dialect, str(trt.__version__))
    source = open_bundle(bundle.path, chosen.variant)
    bounds = bounds or default_bounds(manifest.network)
    folder = bundle.path / ENGINES / _folder_name(gpu)
    cache = _timings_in(folder)
    if options.dla_core is not None:
        bounds = _for_accelerator(chosen, bounds)
    plans: dict[str, bytes] = {}
    graphs = manifest.variants[chosen.variant]
    for done, (name, graph) in enumerate(graphs.items()):
        report(f"building {chosen.variant}/{name}", done, len(graphs))
        half = manifest.variants[chosen.of][name].precision == "fp16"
        source.check_graph(name)
        engine = build_engine(
            trt,
            source.graph_path(name),
            shapes(name, graph, manifest.network.levels, bounds),
            BuildOptions(
                workspace_mib=options.workspace_mib,
                targets=options.targets,
                timing_cache=cache,
                dla_core=options.dla_core if half else None,
                float32_nodes=float32_nodes(manifest) if chosen.by_flags and half else None,
                quantised=graph.precision == "int8",
            ),
            report,
        )
        plans[name], cache = engine.plan, engine.timing_cache
    fingerprint = Fingerprint(
        platform=platform_of(trt, gpu),
        variant=chosen.variant,
        precision=chosen.precision,
        files=files_of(manifest, chosen.variant),
        options={
            "workspace_mib": options.workspace_mib,
            "dla_core": options.dla_core,
            "tf32": False,
            "profile_sharing": dialect.profile_sharing,
            "bounds": asdict(bounds),
            "timing_cache": hashlib.sha256(cache).hexdigest(),
        },
        plans={name: hashlib.sha256(plan).hexdigest() for name, plan in plans.items()},
    )
    text = fingerprint.to_json().encode()
    try:
        _write(
            folder,
            {
                **{f"{name}.plan": plan for name, plan in plans.items()},
                TIMING_CACHE: cache,
                FINGERPRINT: text,
            },
        )
    except OSError as error:
        raise BackendError(f"cannot write {folder}: {reason(error)}") from error
    trust(text, folder)
    return folder


def choose_source(manifest: Manifest, dialect: Dialect, version: str) -> Source:
    """Which variant of a bundle a compiler builds.

    Args:
        manifest: The bundle's.
        dialect: What the compiler understands.
        version: Its version, for the message.

    Raises:
        BackendError: It reads the operators of none.
    """
    readable = [
        name
        for name in _PREFERRED
        if name in manifest.variants and _opset(manifest.variants[name]) <= dialect.newest_opset
    ]
    if not readable:
        raise BackendError(
            f"{dialect.module} {version} reads ONNX opset {dialect.newest_opset}, the bundle has "
            f"{_opset(manifest.variants['fp32'])}: export it again with hmdrn-export --opset 17, update to "
            "TensorRT 10 (JetPack 6), or use ONNX Runtime"
        )
    best = readable[0]
    if best == "fp16" and not dialect.strong_typing:
        return Source("fp32", "fp16", by_flags=True)
    precisions = {graph.precision for graph in manifest.variants[best].values()}
    return Source(best, next((p for p in ("int8", "fp16") if p in precisions), "fp32"))


def float32_nodes(manifest: Manifest) -> frozenset[str]:
    """Names that stay float32 in the half graphs, for compilers that take precision from flags."""
    rules = manifest.precision_rules["fp16"]
    return frozenset(name for rule in rules if rule["precision"] == "fp32" for name in rule.get("nodes", ()))


def _timings_in(folder: Path) -> bytes:
    """What an earlier build of this user's measured on this device, no other's: native code reads it."""
    try:
        text, timings = (folder / FINGERPRINT).read_bytes(), (folder / TIMING_CACHE).read_bytes()
        noted = Fingerprint.from_json(text, str(folder)).options.get("timing_cache")
    except (OSError, BackendError):
        return b""
    return timings if is_trusted(text) and noted == hashlib.sha256(timings).hexdigest() else b""


def _for_accelerator(source: Source, bounds: Bounds) -> Bounds:
    """Sizes that a deep-learning accelerator takes: none of them free.

    Raises:
        BackendError: It cannot compute in the engines' precision.
    """
    if source.precision != "fp16":
        raise BackendError(
            f"deep-learning accelerators compute in half, and this bundle's engines are {source.precision}: "
            "export it with --precision fp16, or leave --dla out"
        )
    return replace(bounds, batch=(1, 1, 1))


def _opset(graphs: Mapping[str, Graph]) -> int:
    return max(graph.opset for graph in graphs.values())


def _folder_name(gpu: Gpu) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{gpu.name} sm{gpu.compute_capability}".lower()).strip("-")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """A folder with these files in place of the one that is there."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, content in files.items():
        if content:
            (part / name).write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
