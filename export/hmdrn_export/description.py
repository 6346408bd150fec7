"""What a manifest says of a network and of its graphs."""

from __future__ import annotations

import onnx

from hmdrn_export.tracing import OPSET
from hmdrn_network import HMDRN
from hmdrn_runtime.manifest import Fusion, Graph, Network, Tensor

BACKENDS = {"fp32": ("onnxruntime",), "fp16": ("tensorrt",)}
"""What runs the graphs of a precision. ONNX Runtime's CPU provider would compute half graphs in float32."""


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


def describe_graph(model: onnx.ModelProto, file: str, precision: str) -> Graph:
    """A graph's entry in the manifest.

    Args:
        model: The graph.
        file: Its path inside the bundle.
        precision: What it computes in.
    """

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
        precision=precision,
        dialect="onnx",
        opset=OPSET,
        backends=BACKENDS[precision],
        inputs=tensors(list(model.graph.input)),
        outputs=tensors(list(model.graph.output)),
    )
