"""Sources of engines by the version of TensorRT and the variants of the bundle."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_manifest import GRAPH, MANIFEST

from hmdrn_export.tensorrt.sources import list_sources
from hmdrn_export.tensorrt.versions import find_features

NEWER = replace(GRAPH, precision="fp16")
VARIANTS = {
    "fp32": {"solve": GRAPH},
    "fp16": {"solve": GRAPH, "classify": NEWER},
    "int8-trt": {"solve": GRAPH, "classify": replace(GRAPH, precision="int8")},
    "fp32-opset17": {"solve": replace(GRAPH, opset=17)},
}


def listed(version, *variants, **options):
    """The sources for a version of TensorRT, each as variant, precision and typing in a line."""
    manifest = replace(MANIFEST, variants={name: VARIANTS[name] for name in ("fp32", *variants)})
    sources = list_sources(manifest, find_features("tensorrt", version), version, **options)
    return [f"{source.variant} as {source.precision}, {source.typing}" for source in sources]


@pytest.mark.parametrize("version", ["10.0.1", "10.3.0", "10.11.0", "10.13.3", "10.16.1"])
def test_from_10_0_on_each_precision_is_strongly_typed_first(version):
    assert listed(version, "fp16", "int8-trt", "fp32-opset17") == [
        "int8-trt as int8, strongly typed",
        "int8-trt as int8, weakly typed",
        "fp16 as fp16, strongly typed",
        "fp32 as fp16, weakly typed",
        "fp32 as fp32, strongly typed",
        "fp32 as fp32, weakly typed",
    ]


def test_version_11_has_no_flags_and_version_8_nothing_else():
    assert listed("11.4.0", "fp16") == ["fp16 as fp16, strongly typed", "fp32 as fp32, strongly typed"]
    assert listed("8.6.1", "fp16", "fp32-opset17") == ["fp32-opset17 as fp32, weakly typed"]


def test_an_accelerator_gets_the_lowest_precision_alone_by_flags_first():
    expected = ["fp32 as fp16, weakly typed", "fp16 as fp16, strongly typed"]
    assert listed("10.3.0", "fp16", accelerator=True) == expected
