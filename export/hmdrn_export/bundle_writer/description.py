"""Entries of a manifest for a network and its graphs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.bundle.manifest import Fusion, Graph, Input, Network, Tensor
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17
from hmdrn_runtime.images.preprocessing import Preprocessing

VARIANTS = {
    "fp32": ("fp32", "onnx", "onnxruntime"),
    # ONNX Runtime's CPU provider would compute half graphs in float32.
    "fp16": ("fp16", "onnx", "tensorrt"),
    FLOAT32_OPSET17: ("fp32", "onnx", "tensorrt"),
    # ONNX Runtime's placement of Q/DQ is refused by TensorRT; TensorRT's is slow on ONNX Runtime.
    "int8-ort": ("int8", "onnxruntime", "onnxruntime"),
    "int8-trt": ("int8", "tensorrt", "tensorrt"),
}
"""Precision and Q/DQ dialect of a variant's graphs, and the backend that runs them."""


def describe_network(network: HMDRN, fingerprint: str) -> Network:
    """Describe what galleries depend on."""
    config, fusion = network.config, network.fusion
    statistics = (
        "keys_values" if config.head == "attention" else "tokens" if config.keeps_tokens() else "gram"
    )
    return Network(
        fingerprint=fingerprint,
        backbone=config.backbone,
        head=config.head,
        levels=config.level_specs,
        fusion=Fusion(
            {name: weight.item() for name, weight in fusion.weight.items()},
            fusion.scale.item(),
            float(fusion.divisor),
        ),
        statistics=statistics,
    )


def describe_input(network: HMDRN, mode: str) -> Input:
    """Describe a network's input for photos that are preprocessed by `mode`."""
    preprocessing = Preprocessing(mode, network.config.side)
    spec = network.config.spec
    return Input(preprocessing.side, preprocessing.resize, mode, spec.mean, spec.std)


def describe_graph(model: onnx.ModelProto, file: str, variant: str) -> Graph:
    """Describe a graph of a variant; `file` is its path inside the bundle."""
    precision, dialect, backend = VARIANTS[variant]

    def describe_tensors(values: Iterable[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(
                value.name,
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
                tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim),
            )
            for value in values
        )

    return Graph(
        file=file,
        precision=precision,
        dialect=dialect,
        opset=model.opset_import[0].version,
        backends=(backend,),
        inputs=describe_tensors(model.graph.input),
        outputs=describe_tensors(model.graph.output),
    )
