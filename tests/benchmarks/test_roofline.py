"""The roofline command from end to end, with a small peak."""

from __future__ import annotations

import json

import pytest

from benchmarks import common, roofline
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import open_bundle


@pytest.mark.slow
def test_every_stage_has_work_a_roof_and_a_share(capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.load_monitor._BEFORE", 0.01)
    monkeypatch.setattr(roofline, "_GEMM", 64)
    monkeypatch.setattr(roofline, "_COPY", 1 << 12)
    monkeypatch.setattr(roofline, "_SPECIES", 50)
    arguments = ["--allow-busy", "--seconds", "0.001", "--runs", "2", "--json"]
    assert common.main("roofline/1", None, roofline.measure, roofline.add_options, arguments=arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    peak, stages = printed["peak"], {stage["name"].strip(): stage for stage in printed["stages"]}
    assert len(stages) == 11
    for stage in stages.values():
        roof = max(stage["macs"] / peak["macs"], stage["bytes"] / peak["bytes"])
        assert stage["roof_seconds"] == pytest.approx(roof)
        assert stage["share"] == pytest.approx(roof / stage["seconds"])
    manifest = open_bundle(resolve_bundle("default")).manifest
    assert stages["matching 50 species"]["macs"] == 50 * manifest.network.packed
    parts = ("backbone within it", "transformers within it", "normalizing, Gram, layout within it")
    whole = stages["network (encode)"]
    assert sum(stages[part]["macs"] for part in parts) == whole["macs"]
    assert sum(stages[part]["seconds"] for part in parts) == pytest.approx(whole["seconds"])
    resize = manifest.input.to_preprocessing().resize
    # Each multiply-add of a frame's resize is one of two passes with two taps.
    assert stages["frame to input"]["macs"] == pytest.approx(6 * (1920 + resize) * 1080, rel=0.01)
