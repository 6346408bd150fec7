from __future__ import annotations

import dataclasses

import pytest

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle import variants
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.bundle.variants import choose_variant, find_incompatibility, has_fast_int8_products


@pytest.fixture
def manifest():
    """The package's manifest with the variants of every precision."""
    manifest = open_bundle(resolve_bundle("default")).manifest
    fp32 = manifest.variants["fp32"]

    def variant(precision, backend):
        return {
            name: dataclasses.replace(g, precision=precision, backends=(backend,)) for name, g in fp32.items()
        }

    return dataclasses.replace(
        manifest,
        variants={
            "fp32": fp32,
            "fp16": variant("fp16", "tensorrt"),
            "int8-ort": variant("int8", "onnxruntime"),
            "int8-trt": variant("int8", "tensorrt"),
        },
    )


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """Let the machine be another one: cpu("x86_64", "avx2 avx512_vnni")."""

    def be(machine, flags):
        monkeypatch.setattr(variants.platform, "machine", lambda: machine)
        path = tmp_path / "cpuinfo"
        if flags is not None:
            path.write_text(f"flags\t\t: fpu {flags} sse\n")
        monkeypatch.setattr(variants, "_CPU_INFO", path)
        has_fast_int8_products.cache_clear()

    yield be
    has_fast_int8_products.cache_clear()


@pytest.mark.parametrize(
    ("machine", "flags"),
    [
        ("x86_64", "avx2 avx512_vnni"),
        ("AMD64", "avx_vnni"),
        ("aarch64", "asimd asimddp"),
        ("arm64", None),
    ],
)
def test_a_cpu_that_multiplies_8_bit_numbers_exactly_and_fast_runs_int8(machine, flags, cpu, manifest):
    cpu(machine, flags)
    assert choose_variant(manifest, "onnxruntime") == "int8-ort"


@pytest.mark.parametrize(
    ("machine", "flags"),
    [("x86_64", "avx2"), ("x86_64", "avx512f avx512bw"), ("x86_64", None), ("aarch64", "asimd")],
)
def test_elsewhere_fp32_runs_and_the_reason_is_given(machine, flags, cpu, manifest):
    cpu(machine, flags)
    assert choose_variant(manifest, "onnxruntime") == "fp32"
    assert "neither VNNI nor SDOT" in str(find_incompatibility(manifest.variants["int8-ort"], "onnxruntime"))


def test_every_backend_gets_its_own_variant(cpu, manifest):
    cpu("x86_64", "avx512_vnni")
    assert choose_variant(manifest, "tensorrt") == "int8-trt"
    assert find_incompatibility(manifest.variants["int8-trt"], "onnxruntime") == "they are for tensorrt"
    without = {name: v for name, v in manifest.variants.items() if not name.startswith("int8")}
    half = dataclasses.replace(manifest, variants=without)
    assert choose_variant(half, "tensorrt") == "fp16"
    assert choose_variant(half, "onnxruntime") == "fp32"


def test_a_backend_without_a_variant_of_its_own_gets_fp32(manifest):
    assert choose_variant(manifest, "abacus") == "fp32"
