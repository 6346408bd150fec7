"""What a manifest says of a network and of its graphs."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.bundle.manifest import Fusion, Graph, Network, Tensor
from hmdrn_runtime.bundle.variants import FLOAT32_OPSET17


@dataclass(frozen=True)
class Variant:
    """What the graphs of a variant are, and what runs them."""

    precision: str
    dialect: str
    backends: tuple[str, ...]


VARIANTS = {
    "fp32": Variant("fp32", "onnx", ("onnxruntime",)),
    # ONNX Runtime's CPU provider would compute half graphs in float32.
    "fp16": Variant("fp16", "onnx", ("tensorrt",)),
    FLOAT32_OPSET17: Variant("fp32", "onnx", ("tensorrt",)),
    # One engine's placement of Q/DQ is slow on the other, and the other's is refused by the first.
    "int8-ort": Variant("int8", "onnxruntime", ("onnxruntime",)),
    "int8-trt": Variant("int8", "tensorrt", ("tensorrt",)),
}


def describe_network(network: HMDRN, identity: str) -> Network:
    """What galleries depend on.

    Args:
        network: The network.
        identity: Its fingerprint.
    """
    config, fusion = network.config, network.fusion
    statistics = (
        "keys_values" if config.head == "attention" else "tokens" if config.keeps_tokens() else "gram"
    )
    return Network(
        fingerprint=identity,
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


def describe_graph(model: onnx.ModelProto, file: str, variant: str) -> Graph:
    """A graph's entry in the manifest.

    Args:
        model: The graph.
        file: Its path inside the bundle.
        variant: The variant that it is of.
    """
    kind = VARIANTS[variant]

    def tensors(values: list[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
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
        precision=kind.precision,
        dialect=kind.dialect,
        opset=model.opset_import[0].version,
        backends=kind.backends,
        inputs=tensors(list(model.graph.input)),
        outputs=tensors(list(model.graph.output)),
    )
