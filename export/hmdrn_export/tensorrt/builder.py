"""One engine, built from one graph."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn_export.tensorrt.layers import EngineLayer, parse_layers
from hmdrn_export.tensorrt.profiles import Shapes
from hmdrn_export.tensorrt.versions import CompilerFeatures, detect_features
from hmdrn_runtime.backends.tensorrt.logger import LogRecord, get_logger, start_with_log
from hmdrn_runtime.errors import BackendError, GraphRefusedError
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

_ADDED_BY_PARSER = "ONNXTRT_"
# TensorRT's own words: "Error Code 2: OutOfMemory", "Error Code 1: Cuda Runtime (an illegal memory access".
_DEVICE_FAILURE = re.compile(
    r"out ?of ?memory|(insufficient|not enough) (gpu |device )?memory|bad_alloc"
    r"|cuda (runtime|driver|error|failure|init)|cudaError|CUDA_ERROR",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build.

    Attributes:
        workspace_mib: Most scratch memory of an engine; the default leaves room on a 4 GB Jetson.
        targets: GPUs to compile for, such as "SM86"; for compilers that work ahead of time.
        timing_cache: Timings of an earlier build, which make this one faster.
        dla_core: Deep-learning accelerator to run on, with the GPU for unsupported layers; None for the GPU.
        strongly_typed: Take the precision from the graph's types, where the compiler can; else from flags.
        float32_nodes: With flags: nodes that stay float32 while others become half; None if nothing becomes
            half.
        quantized: The graph has Q/DQ, which needs a flag without strong typing.

    Examples:
        >>> hmdrn.BuildOptions(workspace_mib=512).workspace_mib
        512
    """

    workspace_mib: int = 1024
    targets: tuple[str, ...] = ()
    timing_cache: bytes = b""
    dla_core: int | None = None
    strongly_typed: bool = True
    float32_nodes: frozenset[str] | None = None
    quantized: bool = False


@dataclass(frozen=True)
class BuiltEngine:
    """Result of a build.

    Attributes:
        plan: The engine, as it is written to a file.
        timing_cache: For the next build; empty if the compiler has none.
        node_types: Types that the parser gave the inputs of the network's layers, by node name.
        layers: Layers that the compiler made of the network.
        seconds: Duration of the build.
    """

    plan: bytes
    timing_cache: bytes
    node_types: Mapping[str, tuple[str, ...]]
    layers: tuple[EngineLayer, ...]
    seconds: float


def build_engine(
    trt: Any,
    path: Path,
    shapes: Shapes,
    options: BuildOptions | None = None,
    report: ProgressCallback = ignore_progress,
) -> BuiltEngine:
    """Parse and compile an ONNX file, with its weights beside it, by the compiler's module `trt`.

    Raises:
        GraphRefusedError: The compiler refuses the graph; the message quotes it.
        BackendError: The compiler cannot be used here, or not with these options; memory or the GPU failed.
    """
    log = get_logger(trt)
    with log.record() as record:
        return _build(trt, path, shapes, options or BuildOptions(), report, log, record)


def _build(
    trt: Any,
    path: Path,
    shapes: Shapes,
    options: BuildOptions,
    report: ProgressCallback,
    log: Any,
    record: LogRecord,
) -> BuiltEngine:
    features = detect_features(trt)
    start = time.perf_counter()
    builder = start_with_log(trt.Builder, log)
    flags = 0
    if features.explicit_batch:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if features.strong_typing and options.strongly_typed:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        texts = [f"node {error.node()}: {error.desc()}" for error in errors]
        raise _make_error(features, path, "parse", texts or record.errors)
    config = _configure(trt, features, builder, options, report)
    if features.precision_flags and not options.strongly_typed and options.float32_nodes is not None:
        _pin_float32(trt, features, network, options.float32_nodes)
    profile = builder.create_optimization_profile()
    for name, (least, best, most) in shapes.items():
        profile.set_shape(name, least, best, most)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _make_error(features, path, "compile", record.errors)
    cache = config.get_timing_cache() if features.timing_cache else None
    return BuiltEngine(
        bytes(plan),
        b"" if cache is None else bytes(cache.serialize()),
        _list_node_types(network),
        parse_layers(record.lines),
        time.perf_counter() - start,
    )


def _configure(
    trt: Any, features: CompilerFeatures, builder: Any, options: BuildOptions, report: ProgressCallback
) -> Any:
    config = builder.create_builder_config()
    # The solve stalls near 1 % with TF32 products, and distances lose their last digits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if config.get_flag(trt.BuilderFlag.TF32):
        raise BackendError(f"{features.module} keeps TF32 on, with which the ridge solve does not converge")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if features.progress:
        config.progress_monitor = make_monitor(trt, report)
    if features.timing_cache:
        _set_timing_cache(config, options.timing_cache)
    if features.profile_sharing:
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if features.ahead_of_time:
        config.num_compute_capabilities = len(options.targets)
        for i, target in enumerate(options.targets):
            config.set_compute_capability(trt.ComputeCapability.__members__[target], i)
    if options.dla_core is not None:
        if not 0 <= options.dla_core < builder.num_DLA_cores:
            raise BackendError(
                f"this device has no deep-learning accelerator {options.dla_core}: {features.module} "
                f"{trt.__version__} offers {builder.num_DLA_cores}, numbered from 0; leave --dla out"
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if features.precision_flags and not options.strongly_typed:
        if options.float32_nodes is not None:
            config.set_flag(trt.BuilderFlag.FP16)
            config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        if options.quantized:
            config.set_flag(trt.BuilderFlag.INT8)
    return config


def _set_timing_cache(config: Any, timings: bytes) -> None:
    """Start with an earlier build's timings, or with none if TensorRT refuses those of another device."""
    for content in (timings, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _pin_float32(trt: Any, features: CompilerFeatures, network: Any, names: frozenset[str]) -> None:
    """Keep layers in float32 by the names of their nodes, where flags decide the precision.

    Layers that the parser adds by itself follow those whose results they move.

    Raises:
        GraphRefusedError: Most of the names belong to no layer: the rest would be rounded silently.
    """
    matched, pinned = set[str](), set[str]()
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        inputs = (layer.get_input(j) for j in range(layer.num_inputs))
        real = [tensor.name for tensor in inputs if tensor is not None and tensor.dtype == trt.float32]
        added = layer.name.startswith(_ADDED_BY_PARSER) and real and pinned.issuperset(real)
        if layer.name not in names and not added:
            continue
        matched.add(layer.name)
        if features.precision_flags:
            layer.precision = trt.float32
            for j in range(layer.num_outputs):
                tensor = layer.get_output(j)
                if tensor.dtype == trt.float32:
                    layer.set_output_type(j, trt.float32)
                    pinned.add(tensor.name)
    # The names are those of all graphs, which share most of them.
    if 4 * len(matched & names) < len(names):
        raise GraphRefusedError(
            f"{features.module} knows {len(matched & names)} of {len(names)} layers that are to stay float32 "
            "by name: build from the float32 graphs (hmdrn-export --precision fp32), or use ONNX Runtime"
        )


def _list_node_types(network: Any) -> dict[str, tuple[str, ...]]:
    """List the types that every layer reads, by the name of its node."""
    types: dict[str, tuple[str, ...]] = {}
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        tensors = (layer.get_input(j) for j in range(layer.num_inputs))
        types[layer.name] = tuple(tensor.dtype.name for tensor in tensors if tensor is not None)
    return types


def _make_error(features: CompilerFeatures, path: Path, step: str, errors: list[str]) -> BackendError:
    """Return the error of a failed step: a refusal of the graph, unless memory or the GPU failed."""
    # The first names the cause, the last the call that failed by it.
    reasons = dict.fromkeys(" ".join(text.split()) for text in (*errors[:1], *errors[-1:]))
    reason = "; then: ".join(reasons) or "it gives no reason"
    kind = BackendError if any(map(_DEVICE_FAILURE.search, errors)) else GraphRefusedError
    return kind(f"{features.module} could not {step} {path}: {reason}")


def make_monitor(trt: Any, report: ProgressCallback) -> Any:
    """Return a progress monitor of the module's own class, for versions that have one."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            report(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            report(phase_name, step + 1, self.steps.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()
