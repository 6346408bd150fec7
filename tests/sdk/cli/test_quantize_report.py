"""`hmdrn quantize-report` and `hmdrn-export --precision int8`, on drawn specimens."""

from __future__ import annotations

import json

import pytest
from outcomes import assert_refused
from PIL import Image

from hmdrn import load
from hmdrn_runtime.bundle.variants import has_fast_int8_products

GENEROUS = ("--max-accuracy-drop", 20, "--episodes", 12)


@pytest.fixture
def cache(tmp_path_factory):
    return ("--cache", tmp_path_factory.getbasetemp() / "ranges")


@pytest.mark.slow
def test_calibrate_shows_what_each_layer_costs(hmdrn, conv4, specimens, cache, tmp_path):
    picture = tmp_path / "layers.png"
    outcome = hmdrn("quantize-report", conv4, specimens, *GENEROUS, *cache, "--picture", picture, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["schema"] == "hmdrn.calibrate/1"
    assert len(outcome.json["layers"]) == 28
    assert {m["variant"] for m in outcome.json["methods"] if m["chosen"]} == {"int8-ort", "int8-trt"}
    assert outcome.json["kept"] == []
    assert min(Image.open(picture).size) > 300


@pytest.mark.slow
def test_an_int8_bundle_is_exported_and_runs(hmdrn, conv4, untraced, specimens, cache, tmp_path):
    untraced(conv4)
    path = tmp_path / "small.hmdrn"
    options = (
        "--checkpoint",
        conv4,
        "--precision",
        "int8",
        "--calibration",
        specimens,
        *GENEROUS,
        *cache,
        "--output",
        path,
    )
    outcome = hmdrn("export", "--checkpoint", conv4, *options)
    assert outcome.code == 0, outcome.err
    assert "layers that stay FP32: none" in outcome.out
    birds = load(path)
    assert birds.bundle.variant == ("int8-ort" if has_fast_int8_products() else "fp32")
    assert birds.backend_report.passed_over["int8-trt"] == "they are for tensorrt"
    photos = sorted(next(iter(sorted(specimens.iterdir()))).iterdir())
    birds.enroll("one", photos[:2])
    birds.enroll("other", sorted(sorted(specimens.iterdir())[1].iterdir())[:2])
    assert birds.classify(photos[0]).label == "one", "a photo that was enrolled"
    assert load(path, variant="fp32").bundle.variant == "fp32"
    manifest = json.loads((path / "manifest.json").read_text())
    assert set(manifest["verification"]) == {"fp32", "int8-ort", "int8-trt"}
    assert manifest["calibration"]["drops"]


@pytest.mark.slow
def test_a_budget_that_cannot_be_met_ends_with_3_and_says_why(hmdrn, conv4, specimens, cache, monkeypatch):
    from hmdrn_calibration.quantization import layer_search
    from hmdrn_runtime.evaluation.evaluation import AccuracyDifference

    monkeypatch.setattr(layer_search, "compare_accuracy", lambda *_: AccuracyDifference(7.5, 0.5))
    outcome = hmdrn("quantize-report", conv4, specimens, "--episodes", 3, *cache)
    assert outcome.code == 3
    assert outcome.err.count("\n") == 1
    assert "int8-ort loses 7.50 ± 0.50 points" in outcome.err
    assert "7 layers kept in FP32" in outcome.err
    assert "backbone.blocks.0.conv" in outcome.out, "the report is shown all the same"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "--precision", "int8"), "--calibration DATA"),
        (
            ("export", "--precision", "fp32", "--calibration", "photos"),
            "--calibration is for --precision int8",
        ),
        (("export", "--precision", "int8", "--calibration", "nowhere", "-o", "b.hmdrn"), "nowhere"),
        (("quantize-report", "nowhere.hmdrn", "photos"), "nowhere.hmdrn"),
        (("quantize-report", "default", "nowhere"), "nowhere"),
        (("quantize-report", "default", "nowhere", "--max-accuracy-drop", "0"), "max-accuracy-drop"),
        (("quantize-report", "default", "nowhere", "--picture", "missing/p.png"), "the folder missing"),
    ],
)
def test_a_mistake_is_reported_in_one_line(hmdrn, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(hmdrn(*arguments), words)
    assert list(tmp_path.iterdir()) == []
