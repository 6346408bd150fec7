"""Classes do not reach each other's outputs, so that a backend may pad them with anything."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_the_content_of_a_class_does_not_reach_the_outputs_of_others(exported, head):
    bundle, classes = open_bundle(exported("conv4", head)), 3
    tokens = {f"tokens_{level.name}": level.tokens for level in bundle.manifest.network.levels}
    rng, operands, padded = np.random.default_rng(1), {}, {}
    for tensor in bundle.graph("classify").inputs:
        if tensor.name != "images":
            shape = [{**tokens, "classes": classes}.get(size, size) for size in tensor.shape]
            flags = tensor.dtype == "bool"
            array = np.ones(shape, bool) if flags else rng.random(shape, dtype=np.float32)
            operands[tensor.name] = array
            padding = np.full_like(array[:2], True if flags else np.nan)
            padded[tensor.name] = np.concatenate([array, padding])
    backend = open_backend(bundle, "onnxruntime", threads=1)
    images = draw_specimens([0, 1], 1, size=84).reshape(-1, 84, 84, 3)
    expected = backend.run("classify", {"images": images, **operands})
    outputs = backend.run("classify", {"images": images, **padded})
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name][:, :classes], array, rtol=1e-5)
        assert np.isnan(outputs[name][:, classes:]).all()
