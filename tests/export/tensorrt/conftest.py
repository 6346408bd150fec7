"""Bundles whose graphs are written and not verified, and NVIDIA's compiler where it is installed."""

from __future__ import annotations

import pytest

from hmdrn_export import exporter
from hmdrn_network import load_checkpoint
from hmdrn_runtime.bundle import MANIFEST, open_bundle


@pytest.fixture(scope="session")
def compiler():
    """NVIDIA's compiler that needs no GPU."""
    return pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="session")
def written(once, seeded_checkpoint):
    """written(backbone, head, variant): an fp16 bundle that is not verified, which would take longer."""

    def make(backbone, head, variant):
        def write(path):
            path.mkdir()
            checkpoint = load_checkpoint(seeded_checkpoint(backbone, head))
            manifest = exporter._write(checkpoint, path, "fp16", "crop", lambda *_: None)
            (path / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")

        return open_bundle(once(f"{backbone}_{head}_fp16_unverified.hmdrn", write), variant)

    return make
