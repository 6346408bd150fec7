"""One graph to one engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn_export.tensorrt.layers import EngineLayer, engine_layers
from hmdrn_export.tensorrt.progress import Progress, make_monitor
from hmdrn_export.tensorrt.versions import Dialect, dialect_of_module
from hmdrn_runtime.backends.tensorrt.logger import make_logger, started
from hmdrn_runtime.errors import BackendError

_ADDED_BY_PARSER = "ONNXTRT_"

Shapes = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        workspace_mib: Most scratch memory of an engine; the default leaves a 4 GB Jetson room to live.
        targets: GPUs to compile for, such as "SM86"; for compilers that work ahead of time.
        timing_cache: Timings of an earlier build, which make this one quicker.
        dla_core: Deep-learning accelerator to run on, what it cannot do on the GPU; None for the GPU alone.
        float32_nodes: For versions before strong typing: nodes that stay float32 while others become half;
            None if nothing is to become half.
        quantised: Whether the graph has Q/DQ, which versions before strong typing want to be told.
    """

    workspace_mib: int = 1024
    targets: tuple[str, ...] = ()
    timing_cache: bytes = b""
    dla_core: int | None = None
    float32_nodes: frozenset[str] | None = None
    quantised: bool = False


@dataclass(frozen=True)
class Engine:
    """What came of a build.

    Attributes:
        plan: The engine, as it goes into a file.
        timing_cache: For the next build; empty if the compiler has none.
        node_types: Types that the parser gave the inputs of the network's layers, by node name.
        layers: What the compiler made of the network.
        seconds: How long it took.
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
    report: Progress = lambda what, done, of: None,
) -> Engine:
    """Parse and compile a graph.

    Args:
        trt: The compiler's module.
        path: The ONNX file, its weights beside it.
        shapes: Smallest, usual and largest shape of every input.
        options: How to build.
        report: Told of the progress, by compilers that tell of it.

    Raises:
        BackendError: The compiler refuses the graph; the message has its own words.
    """
    options = options or BuildOptions()
    dialect = dialect_of_module(trt)
    start = time.perf_counter()
    log = make_logger(trt)
    builder = started(trt.Builder, log)
    flags = 0
    if dialect.explicit_batch:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if dialect.strong_typing:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = _parser_errors(parser)
        raise _refusal(dialect, path, "parse", errors or log.errors)
    config = _configuration(trt, dialect, builder, options, report)
    if not dialect.strong_typing and options.float32_nodes is not None:
        _pin_float32(trt, dialect, network, options.float32_nodes)
    profile = builder.create_optimization_profile()
    for name, (least, best, most) in shapes.items():
        profile.set_shape(name, least, best, most)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refusal(dialect, path, "compile", log.errors)
    return Engine(
        bytes(plan),
        _kept_timings(dialect, config),
        _node_types(network),
        engine_layers(log.lines),
        time.perf_counter() - start,
    )


def _configuration(trt: Any, dialect: Dialect, builder: Any, options: BuildOptions, report: Progress) -> Any:
    config = builder.create_builder_config()
    # The solve stalls near 1 % with TF32 products, and distances lose their last digits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if config.get_flag(trt.BuilderFlag.TF32):
        raise BackendError(f"{dialect.module} keeps TF32 on, with which the ridge solve does not converge")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if dialect.progress:
        config.progress_monitor = make_monitor(trt, report)
    if dialect.timing_cache:
        _use_timings(config, options.timing_cache)
    if dialect.profile_sharing:
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if dialect.ahead_of_time:
        config.num_compute_capabilities = len(options.targets)
        for i, target in enumerate(options.targets):
            config.set_compute_capability(trt.ComputeCapability.__members__[target], i)
    if options.dla_core is not None:
        if not 0 <= options.dla_core < builder.num_DLA_cores:
            raise BackendError(
                f"there is no deep-learning accelerator {options.dla_core} here: {dialect.module} "
                f"{trt.__version__} offers {builder.num_DLA_cores}, numbered from 0; leave --dla out"
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if not dialect.strong_typing and options.float32_nodes is not None:
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    if not dialect.strong_typing and options.quantised:
        config.set_flag(trt.BuilderFlag.INT8)
    return config


def _use_timings(config: Any, timings: bytes) -> None:
    """Begin with what an earlier build has measured; TensorRT refuses it where it is another device's."""
    for known in (timings, b""):
        cache = config.create_timing_cache(known)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _kept_timings(dialect: Dialect, config: Any) -> bytes:
    """What a build has measured, for the next one; nothing from compilers that do not tell."""
    cache = config.get_timing_cache() if dialect.timing_cache else None
    return b"" if cache is None else bytes(cache.serialize())


def _pin_float32(trt: Any, dialect: Dialect, network: Any, names: frozenset[str]) -> None:
    """Before strong typing: keep layers in float32, by the names of the nodes that they are of.

    Layers that the parser adds of its own accord follow those whose results they move.

    Raises:
        BackendError: Most of the names are of no layer: the rest would be rounded without a word.
    """
    found, pinned = set[str](), set[str]()
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        inputs = (layer.get_input(j) for j in range(layer.num_inputs))
        real = [tensor.name for tensor in inputs if tensor is not None and tensor.dtype == trt.float32]
        added = layer.name.startswith(_ADDED_BY_PARSER) and real and pinned.issuperset(real)
        if layer.name not in names and not added:
            continue
        found.add(layer.name)
        if not dialect.strong_typing:
            layer.precision = trt.float32
            for j in range(layer.num_outputs):
                tensor = layer.get_output(j)
                if tensor.dtype == trt.float32:
                    layer.set_output_type(j, trt.float32)
                    pinned.add(tensor.name)
    # The names are those of all graphs, which share most of them.
    if 4 * len(found & names) < len(names):
        raise BackendError(
            f"{dialect.module} knows {len(found & names)} of {len(names)} layers that are to stay float32 by "
            "name: build from the float32 graphs (hmdrn-export --precision fp32), or use ONNX Runtime"
        )


def _node_types(network: Any) -> dict[str, tuple[str, ...]]:
    """Types of what every layer reads, by the name of the node that it is of."""
    types: dict[str, tuple[str, ...]] = {}
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        tensors = (layer.get_input(j) for j in range(layer.num_inputs))
        types[layer.name] = tuple(tensor.dtype.name for tensor in tensors if tensor is not None)
    return types


def _parser_errors(parser: Any) -> list[str]:
    texts = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        texts.append(f"node {error.node()}: {error.desc()}")
    return texts


def _refusal(dialect: Dialect, path: Path, what: str, errors: list[str]) -> BackendError:
    words = " ".join(errors[0].split()) if errors else "it does not say why"
    return BackendError(f"{dialect.module} could not {what} {path}: {words}")
