"""All engines of a bundle for the device that they are built on."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from hmdrn_export.tensorrt.builder import BuildOptions, build_engine
from hmdrn_export.tensorrt.messages import Progress
from hmdrn_export.tensorrt.profiles import default_bounds, shapes
from hmdrn_export.tensorrt.versions import Dialect, dialect_of_module
from hmdrn_runtime.bundle import Bundle, open_bundle
from hmdrn_runtime.cuda import Gpu
from hmdrn_runtime.device.jetson import read_l4t_release
from hmdrn_runtime.documents import canonical_json
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.files import reason
from hmdrn_runtime.manifest import Manifest

FINGERPRINT = "fingerprint.json"
TIMING_CACHE = "timing.cache"


def build_engines(
    trt: Any,
    bundle: Bundle,
    gpu: Gpu,
    options: BuildOptions,
    report: Progress = lambda what, done, of: None,
) -> Path:
    """Build every graph of a bundle, half where it has half graphs.

    Args:
        trt: TensorRT's module.
        bundle: The bundle; its folder gets `engines/<device>/`, which is replaced as a whole.
        gpu: The GPU that is built on.
        options: How to build.
        report: Told of the progress.

    Returns:
        The folder, with a plan for every graph and the fingerprint that says what they are for.

    Raises:
        BackendError: The compiler refuses a graph, or the folder cannot be written.
    """
    dialect = dialect_of_module(trt)
    manifest = bundle.manifest
    half = "fp16" in manifest.variants
    source = open_bundle(bundle.path, "fp16" if half and dialect.strong_typing else "fp32")
    pinned = _float32_nodes(manifest) if half and not dialect.strong_typing else None
    cache = timing_cache_of(bundle)
    plans: dict[str, bytes] = {}
    graphs = manifest.variants[source.variant]
    for done, (name, graph) in enumerate(graphs.items()):
        _check_opset(dialect, trt, graph.opset)
        report(f"building {source.variant}/{name}", done, len(graphs))
        sizes = shapes(name, graph, manifest.network.levels, default_bounds(manifest.network))
        source.check_graph(name)
        engine = build_engine(
            trt,
            source.graph_path(name),
            sizes,
            BuildOptions(
                workspace_mib=options.workspace_mib,
                targets=options.targets,
                timing_cache=cache,
                dla_core=options.dla_core,
                float32_nodes=pinned if name != "solve" else None,
            ),
            report,
        )
        plans[name], cache = engine.plan, engine.timing_cache
    fingerprint = {
        "format_version": 1,
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "compiler": f"{dialect.module} {trt.__version__}",
        "l4t": read_l4t_release(),
        "variant": source.variant,
        "precision": "fp16" if half else "fp32",
        "graphs": {name: manifest.files[graph.file] for name, graph in graphs.items()},
        "options": {"workspace_mib": options.workspace_mib, "dla_core": options.dla_core, "tf32": False},
        "plans": {name: hashlib.sha256(plan).hexdigest() for name, plan in plans.items()},
    }
    folder = bundle.path / "engines" / _folder_name(gpu)
    try:
        _write(
            folder,
            {
                **{f"{name}.plan": plan for name, plan in plans.items()},
                TIMING_CACHE: cache,
                FINGERPRINT: canonical_json(fingerprint).encode(),
            },
        )
    except OSError as error:
        raise BackendError(f"cannot write {folder}: {reason(error)}") from error
    return folder


def timing_cache_of(bundle: Bundle) -> bytes:
    """What earlier builds of a bundle measured; the compiler passes over what is not of its device."""
    caches = sorted((bundle.path / "engines").glob(f"*/{TIMING_CACHE}"))
    return caches[0].read_bytes() if caches else b""


def _float32_nodes(manifest: Manifest) -> frozenset[str]:
    """Names that the bundle's rules keep in float32, for compilers that take precision from flags."""
    rules = manifest.precision_rules["fp16"]
    return frozenset(name for rule in rules if rule["precision"] == "fp32" for name in rule.get("nodes", ()))


def _check_opset(dialect: Dialect, trt: Any, opset: int) -> None:
    if opset > dialect.newest_opset:
        raise BackendError(
            f"{dialect.module} {trt.__version__} reads ONNX opset {dialect.newest_opset}, the bundle has "
            f"{opset}: update to TensorRT 10 (JetPack 6), or use ONNX Runtime"
        )


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
