"""One graph to one engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdrn_export.tensorrt.layers import EngineLayer, engine_layers
from hmdrn_export.tensorrt.messages import Progress, make_monitor
from hmdrn_export.tensorrt.versions import Dialect, dialect_of_module
from hmdrn_runtime.backends.tensorrt.log import make_logger, started
from hmdrn_runtime.errors import BackendError

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
    if options.float32_nodes is not None:
        _pin_float32(trt, dialect, network, options.float32_nodes)
    profile = builder.create_optimization_profile()
    for name, (least, best, most) in shapes.items():
        profile.set_shape(name, least, best, most)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refusal(dialect, path, "compile", log.errors)
    kept = b""
    if dialect.timing_cache:
        cache = config.get_timing_cache()
        kept = bytes(cache.serialize())
    return Engine(
        bytes(plan), kept, _node_types(network), engine_layers(log.lines), time.perf_counter() - start
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
        cache = config.create_timing_cache(options.timing_cache)
        config.set_timing_cache(cache, ignore_mismatch=False)
    if dialect.profile_sharing:
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if dialect.ahead_of_time:
        config.num_compute_capabilities = len(options.targets)
        for i, target in enumerate(options.targets):
            config.set_compute_capability(trt.ComputeCapability.__members__[target], i)
    if options.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if not dialect.strong_typing and options.float32_nodes is not None:
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    if not dialect.strong_typing and options.quantised:
        config.set_flag(trt.BuilderFlag.INT8)
    return config


def _pin_float32(trt: Any, dialect: Dialect, network: Any, names: frozenset[str]) -> None:
    """Before strong typing: keep layers in float32, by the names of the nodes that they are of."""
    if not dialect.strong_typing:
        for i in range(network.num_layers):
            layer = network.get_layer(i)
            if layer.name in names:
                layer.precision = trt.float32
                for j in range(layer.num_outputs):
                    tensor = layer.get_output(j)
                    if tensor.dtype == trt.float32:
                        layer.set_output_type(j, trt.float32)


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
