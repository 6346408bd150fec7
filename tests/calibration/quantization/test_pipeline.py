from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from preprocessings import CROP

from hmdrn_calibration.quantization.in_memory_backend import InMemoryBackend, make_recognizer
from hmdrn_calibration.quantization.layer_search import search_float32_layers
from hmdrn_calibration.quantization.layers import find_layers, load_photo_graphs
from hmdrn_calibration.quantization.paired_trials import PairedTrial
from hmdrn_calibration.quantization.pipeline import check_budget, quantize_bundle
from hmdrn_calibration.quantization.qdq_placement import ORT
from hmdrn_calibration.quantization.ranges import METHODS
from hmdrn_calibration.quantization.report import AccuracyDrop, Budget, LayerCost
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.errors import BundleError, VerificationError
from hmdrn_runtime.evaluation.evaluation import BundleScorer, EpisodeSetting, compare_accuracy, evaluate
from hmdrn_runtime.recognizer import Recognizer


def drop(points, interval=0.01, variant="int8-ort"):
    return AccuracyDrop(variant, 5, 1, 16, 600, 60.0, 60.0 - points, points, interval, "test")


def costs(*errors):
    return [LayerCost(f"layer {i}", 10, error, 0.0, 0.0, False) for i, error in enumerate(errors)]


def test_no_layer_is_measured_if_the_budget_holds_at_once():
    def measure():
        raise AssertionError("layers were measured for nothing")

    kept, found = search_float32_layers(Budget(0.3), measure, lambda kept: (drop(0.1),))
    assert kept == ()
    assert found == (drop(0.1),)


def test_the_costliest_layers_are_kept_until_the_budget_holds():
    left = {(): 0.9, ("layer 2",): 0.5, ("layer 2", "layer 5"): 0.2}
    kept, found = search_float32_layers(
        Budget(0.3), lambda: costs(0.1, 0, 0.9, 0, 0, 0.5, 0, 0, 0, 0, 0, 0), lambda kept: (drop(left[kept]),)
    )
    assert kept == ("layer 2", "layer 5")
    assert found == (drop(0.2),)


def test_the_interval_counts_as_well_as_the_mean():
    assert drop(0.2, 0.3).within(Budget(0.3))
    assert not drop(0.2, 0.5).within(Budget(0.3))
    assert not drop(0.31, 0.0).within(Budget(0.3))
    assert not drop(float("nan")).within(Budget(0.3))


def test_both_variants_must_hold():
    measured = iter([(drop(0.1), drop(0.5, variant="int8-trt")), (drop(0.1), drop(0.2, variant="int8-trt"))])
    kept, _ = search_float32_layers(Budget(0.3), lambda: costs(1, 0, 0, 0), lambda kept: next(measured))
    assert kept == ("layer 0",)


def test_no_more_than_the_allowed_share_of_layers_is_kept():
    kept, found = search_float32_layers(
        Budget(0.3, max_kept=0.25), lambda: costs(*range(8)), lambda kept: (drop(2.0),)
    )
    assert kept == ("layer 7", "layer 6")
    assert not found[0].within(Budget(0.3))


def test_the_graphs_of_both_variants_have_every_layer_in_int8(default, calibrated):
    assert set(calibrated.variants) == {"int8-ort", "int8-trt"}
    for models in calibrated.variants.values():
        assert set(models) == {"enroll", "classify", "encode", "explain"}
        for name, model in load_photo_graphs(default).items():
            int8 = {w.name for w in models[name].graph.initializer if w.data_type == onnx.TensorProto.INT8}
            weights = {n.name: n.input[1] for n in model.graph.node if n.name in find_layers(model.graph)}
            assert {f"{weight}/q" for weight in weights.values()} <= int8


def test_each_classify_graph_is_at_most_36_hundredths_of_fp32s_size(default, calibrated):
    fp32 = len(load_photo_graphs(default)["classify"].SerializeToString())
    for models in calibrated.variants.values():
        assert len(models["classify"].SerializeToString()) <= 0.36 * fp32


def test_solve_mask_norms_and_matching_stay_float32(calibrated):
    for models in calibrated.variants.values():
        assert "solve" not in models
        for model in models.values():
            maker = {out: node for node in model.graph.node for out in node.output}
            for node in model.graph.node:
                sources = [maker[name].op_type for name in node.input if name in maker]
                if node.op_type in ("LayerNormalization", "Softmax", "Pow", "Greater", "Gemm", "ReduceSum"):
                    assert "DequantizeLinear" not in sources, node.name


def test_no_method_is_more_accurate_and_closer_than_the_chosen_one(calibrated):
    for variant in ("int8-ort", "int8-trt"):
        scores = [s for s in calibrated.report.methods if s.variant == variant]
        assert {s.method for s in scores} == set(METHODS)
        (chosen,) = [s for s in scores if s.chosen]
        assert not any(
            s.accuracy > chosen.accuracy and s.distance_error < chosen.distance_error for s in scores
        )


@pytest.mark.slow
def test_the_same_data_gives_the_same_graphs_and_report(default, data, calibrated, tmp_path):
    again = quantize_bundle(default, data, Budget(5.0, episodes=20), cache=tmp_path, threads=1)
    cached = quantize_bundle(default, data, Budget(5.0, episodes=20), cache=tmp_path, threads=1)
    assert len(list(tmp_path.iterdir())) == 1
    for other in (again, cached):
        assert other.report == calibrated.report
        for variant, models in calibrated.variants.items():
            for name, model in models.items():
                assert other.variants[variant][name] == model


def test_the_report_is_json(calibrated):
    values = json.loads(json.dumps(calibrated.report.to_dict()))
    assert values["drops"][0]["variant"] == "int8-ort"
    assert values["budget"]["max_drop"] == 5.0


def test_the_reported_drop_is_what_an_evaluation_of_its_own_gives(default, data, calibrated):
    from hmdrn_calibration.quantization.calibration_data import load_calibration_photos

    photos = load_calibration_photos(data, CROP)
    backend = InMemoryBackend(calibrated.variants["int8-ort"], open_backend(default, threads=1), 1)
    candidate = make_recognizer(default, backend, "int8-ort")
    settings = photos.settings(20)
    fp32 = evaluate(BundleScorer(Recognizer(default, open_backend(default))), photos.accuracy, settings)
    int8 = evaluate(BundleScorer(candidate), photos.accuracy, settings)
    found = [d for d in calibrated.report.drops if d.variant == "int8-ort"]
    for one, other, reported in zip(fp32, int8, found, strict=True):
        assert reported.accuracy == pytest.approx(other.accuracy)
        assert reported.drop == pytest.approx(compare_accuracy(one, other).points)
        assert reported.ci95 == pytest.approx(compare_accuracy(one, other).ci95)


def test_a_missed_budget_is_reported_with_what_to_do(calibrated):
    check_budget(calibrated.report)
    missed = replace(calibrated.report, budget=Budget(0.3), drops=(drop(1.25, 0.2),), kept=("a", "b"))
    with pytest.raises(VerificationError, match=r"int8-ort loses 1\.25 ± 0\.20 points at 1 shot") as raised:
        check_budget(missed)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)
    assert "--max-accuracy-drop" in str(raised.value)


def test_a_variant_that_is_not_fp32_is_not_calibrated(default, data):
    int8 = {name: replace(g, precision="int8") for name, g in default.manifest.variants["fp32"].items()}
    manifest = replace(default.manifest, variants={"fp32": int8})
    with pytest.raises(BundleError, match="is not FP32"):
        quantize_bundle(replace(default, manifest=manifest), data, Budget())


def test_a_trial_ranks_a_network_above_its_damaged_copies(default, drawn):
    """The error of distances grows with the damage, and the undamaged graphs have none."""
    classes = [np.stack([photo.pixels for photo in photos]) for photos in drawn]
    trial = PairedTrial(classes, [EpisodeSetting(3, 1, 4)], rounds=2)
    backend = open_backend(default, threads=1)
    reference = trial.run(BundleScorer(Recognizer(default, backend)))
    errors = []
    for damage in (0.0, 0.01, 0.1):
        models = {"enroll": load_photo_graphs(default)["enroll"]}
        for weight in models["enroll"].graph.initializer:
            if weight.name == "backbone.blocks.1.conv.weight":
                changed = onnx.numpy_helper.to_array(weight) * np.float32(1 + damage)
                weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
        candidate = make_recognizer(default, InMemoryBackend(models, backend, 1), "damaged")
        outcome = trial.run(BundleScorer(candidate))
        errors.append(outcome.distance_error(reference))
        assert outcome.accuracy_drop(outcome) == (0.0, 0.0)
    assert errors[0] < 1e-5 < errors[1] < errors[2]


def test_the_interval_of_a_loss_may_end_two_tenths_above_its_mean():
    assert Budget(0.3).max_interval == pytest.approx(0.5)


@pytest.mark.slow
def test_graphs_can_be_made_for_onnx_runtime_alone(default, data):
    result = quantize_bundle(default, data, Budget(5.0, episodes=4), dialects=(ORT,), threads=1)
    assert set(result.variants) == {drop.variant for drop in result.report.drops} == {"int8-ort"}
