from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from hmdrn_calibration.quantization.pipeline import quantize_bundle
from hmdrn_calibration.quantization.report import Budget
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species


@dataclass(frozen=True)
class Photo:
    """A drawn specimen as the network's input."""

    pixels: np.ndarray

    def prepare(self, mode, side=84):
        return self.pixels


@pytest.fixture(scope="session")
def drawn():
    """Six species, ten specimens of each."""
    return [[Photo(image) for image in images] for images in draw_specimens(range(6), 10, size=84)]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Six species as files, twelve photos of each: <species>/<n>.png."""
    folder = tmp_path_factory.mktemp("calibration-data")
    for s, images in enumerate(draw_specimens(range(6), 12, size=84)):
        (folder / name_species(s)).mkdir()
        for n, image in enumerate(images):
            Image.fromarray(image).save(folder / name_species(s) / f"{n:02}.png")
    return folder


@pytest.fixture(scope="session")
def default(conv4):
    """A trained bundle; Conv-4, because every quantized layer is measured."""
    return open_bundle(conv4)


@pytest.fixture(scope="session")
def calibrated(default, data):
    """The package's model calibrated on drawn specimens, with a budget that holds."""
    return quantize_bundle(default, data, Budget(5.0, episodes=20), threads=1)


@pytest.fixture
def residual():
    """A residual block as ResNet-12 has it, a pooling and a product after it, weights drawn at random."""
    rng = np.random.default_rng(0)

    def weight(name, *shape):
        return numpy_helper.from_array((rng.standard_normal(shape) / 4).astype(np.float32), name)

    def conv(name, source, kernel):
        pads = [kernel // 2] * 4
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return helper.make_node(
            "Conv", inputs, [name], f"{name}/Conv", kernel_shape=[kernel, kernel], pads=pads
        )

    nodes = [
        conv("first", "images", 3),
        helper.make_node("LeakyRelu", ["first"], ["leaky"], "leaky/LeakyRelu", alpha=0.1),
        conv("second", "leaky", 3),
        conv("shortcut", "images", 1),
        helper.make_node("Add", ["second", "shortcut"], ["sum"], "sum/Add"),
        helper.make_node("LeakyRelu", ["sum"], ["last"], "last/LeakyRelu", alpha=0.1),
        helper.make_node(
            "MaxPool", ["last"], ["pooled"], "pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Reshape", ["pooled", "shape"], ["tokens"], "tokens/Reshape"),
        helper.make_node("MatMul", ["tokens", "linear.weight"], ["product"], "linear/MatMul"),
        helper.make_node("Add", ["product", "tokens"], ["output"], "output/Add"),
    ]
    constants = [
        *(weight(f"{name}.weight", 8, of, k, k) for name, of, k in (("first", 3, 3), ("second", 8, 3))),
        weight("shortcut.weight", 8, 3, 1, 1),
        *(weight(f"{name}.bias", 8) for name in ("first", "second", "shortcut")),
        weight("linear.weight", 16, 16),
        numpy_helper.from_array(np.array([-1, 16], np.int64), "shape"),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, 16])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def inverted():
    """Two MBConv blocks of stride 1, the second with a residual, and a projection after them."""
    rng = np.random.default_rng(1)
    constants = [
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(np.array(6, np.float32), "six"),
    ]
    nodes = []

    def conv(name, source, inputs, outputs, kernel=1, groups=1):
        shape = (outputs, inputs // groups, kernel, kernel)
        # Depthwise channels differ in size: one scale for all would round the small ones away.
        values = rng.standard_normal(shape) * np.geomspace(0.03, 1, outputs)[:, None, None, None]
        bias = rng.standard_normal(outputs)
        constants.append(numpy_helper.from_array(values.astype(np.float32), f"{name}.weight"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}.weight", f"{name}.bias"],
                [name],
                f"{name}/Conv",
                kernel_shape=[kernel, kernel],
                pads=[kernel // 2] * 4,
                group=groups,
            )
        )

    def relu6(source):
        nodes.append(helper.make_node("Clip", [source, "zero", "six"], [f"{source}6"], f"{source}/Clip"))

    source, channels = "images", 3
    for block in ("a", "b"):
        conv(f"{block}.expand", source, channels, 24)
        relu6(f"{block}.expand")
        conv(f"{block}.depthwise", f"{block}.expand6", 24, 24, kernel=3, groups=24)
        relu6(f"{block}.depthwise")
        conv(f"{block}.project", f"{block}.depthwise6", 24, 8)
        source, channels = f"{block}.project", 8
    nodes.append(helper.make_node("Add", ["a.project", "b.project"], ["sum"], "sum/Add"))
    conv("projection", "sum", 8, 4)
    nodes.append(helper.make_node("Tanh", ["projection"], ["output"], "output/Tanh"))
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, 4, 8, 8])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
