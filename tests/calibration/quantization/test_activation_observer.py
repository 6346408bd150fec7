from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from preprocessings import CROP

from hmdrn_calibration.quantization.activation_observer import observe_activations
from hmdrn_calibration.quantization.layers import load_photo_graphs
from hmdrn_calibration.quantization.ort_session import open_session
from hmdrn_calibration.quantization.qdq_placement import list_observed_tensors
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting

SETTING = EpisodeSetting(way=3, shot=2, queries=2, episodes=3)


@pytest.fixture(scope="module")
def graphs(default):
    return load_photo_graphs(default)


@pytest.fixture(scope="module")
def histograms(graphs, drawn):
    return observe_activations(graphs, drawn, CROP, SETTING)


def photos_of(drawn, kind):
    """The support or query photos that the episodes draw, counted here once more."""
    chosen = set()
    for episode in sample_episodes([10] * 6, way=3, shot=2, queries=2, episodes=3, seed=0):
        rows = getattr(episode, kind)
        chosen |= {(c, i) for c, members in zip(episode.classes, rows, strict=True) for i in members}
    return np.stack([drawn[c][i].pixels for c, i in sorted(chosen)])


def values(model, tensor, photos):
    """What a graph computes inside, with the tensor as a further output."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    inputs = {"images": photos}
    if any(value.name == "operator" for value in copy.graph.input):
        inputs["operator"] = np.zeros((1, 4160), np.float32)
    return open_session(copy, threads=1).run([tensor], inputs)[0]


def test_every_tensor_that_a_placement_may_quantize_is_observed(graphs, histograms):
    wanted = set().union(*(list_observed_tensors(model.graph) for model in graphs.values()))
    assert set(histograms) == wanted
    assert all(h.counts.sum() > 0 for h in histograms.values())


def test_the_masked_branch_sees_queries_and_the_unmasked_one_supports(graphs, histograms, drawn):
    masked = [name for name in histograms if "layers.1.mlp_out" not in name and "mlp" not in name]
    graph_tensors = {name: set() for name in ("enroll", "classify")}
    for name, of in graph_tensors.items():
        of |= {output for node in graphs[name].graph.node for output in node.output}
    only_queries = [n for n in masked if n in graph_tensors["classify"] and "layers.2.norm" in n]
    only_supports = [n for n in masked if n not in graph_tensors["classify"] and "layers.2.norm" in n]
    assert len(only_queries) == len(only_supports) == 2
    for name in only_queries:
        tensor = values(graphs["classify"], name, photos_of(drawn, "query"))
        assert histograms[name].range.low == pytest.approx(float(tensor.min()), rel=1e-5)
        assert histograms[name].range.high == pytest.approx(float(tensor.max()), rel=1e-5)
    for name in only_supports:
        tensor = values(graphs["enroll"], name, photos_of(drawn, "support"))
        assert histograms[name].range.high == pytest.approx(float(tensor.max()), rel=1e-5)


def test_what_both_branches_share_sees_both(graphs, histograms, drawn):
    name = "backbone.blocks.2.relu/Relu"
    both = np.concatenate([photos_of(drawn, "support"), photos_of(drawn, "query")])
    assert histograms[name].range.high == pytest.approx(
        float(values(graphs["classify"], name, both).max()), rel=1e-5
    )


def test_the_same_episodes_give_the_same_histograms(graphs, histograms, drawn):
    again = observe_activations(graphs, drawn, CROP, SETTING)
    for name, histogram in histograms.items():
        assert again[name].range == histogram.range
        np.testing.assert_array_equal(again[name].counts, histogram.counts)


def test_an_attention_head_is_observed_in_both_branches_too(exported, drawn):
    from hmdrn_runtime.bundle.bundle import open_bundle

    graphs = load_photo_graphs(open_bundle(exported("conv4", "attention")))
    histograms = observe_activations(graphs, drawn, CROP, SETTING)
    inputs = {
        node.input[0]
        for model in graphs.values()
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1].startswith("heads.")
    }
    assert len(inputs) == 4, "support and query tokens of two levels"
    assert inputs <= set(histograms)


def test_too_few_photos_are_refused(graphs, drawn):
    with pytest.raises(DatasetError, match="lower way, shot or queries"):
        observe_activations(graphs, drawn[:2], CROP, SETTING)
