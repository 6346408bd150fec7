"""The authors' model, reproduced by the exported graphs in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.gallery.gallery import with_photos
from hmdrn_runtime.matching.attention import AttentionMatcher

CONV4 = ["conv4_cub", "conv4_cars", "conv4_dogs"]


@pytest.fixture(scope="module")
def authors_bundle(shared, exported):
    def find(name):
        return open_bundle(exported(shared(f"reference/{name}.pth"), preprocessing="squash"))

    return find


def assert_close(found, expected, what):
    """1e-4 relative to the array's magnitude."""
    assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max(), err_msg=what)


def assert_reproduced(bundle, reference):
    """Distances and log-probabilities through enroll and classify, query tokens through explain."""
    way, shot, query = (int(reference[key]) for key in ("way", "shot", "query"))
    images = reference["images"]
    backend = open_backend(bundle)
    network = bundle.manifest.network
    matcher = AttentionMatcher(network, backend, "fp32")
    photos = matcher.photo_statistics(images[: way * shot])
    species = [with_photos(None, f"class {c}", photos[c * shot : (c + 1) * shot]) for c in range(way)]
    scores = matcher.classify(images[way * shot :], matcher.place(matcher.class_operands(species)))

    weights = network.fusion.weights
    found = -sum(weights[name] * scores.distances[name].astype(np.float64) for name in ("high", "mid"))
    assert found.shape == (way * query, way)
    assert_allclose(found, reference["neg_sq_dist"], rtol=1e-4)
    log_prob = torch.log_softmax(torch.from_numpy(scores.logits).double(), dim=1).numpy()
    assert_allclose(log_prob, reference["log_prob"], rtol=1e-4, atol=1e-4)

    explained = backend.run("explain", {"images": images[way * shot : way * shot + 2]})
    for level, key in (("high", "query_5x5"), ("mid", "query_10x10")):
        expected = reference[key].reshape(2, reference[key].shape[1], -1).transpose(0, 2, 1)
        assert_close(explained[f"query_tokens_{level}"], expected, key)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("name", CONV4)
def test_the_graphs_give_what_the_authors_conv4_gives(name, shots, authors_bundle, shared):
    with np.load(shared(f"reference/{name}_5way_{shots}shot.npz")) as reference:
        assert_reproduced(authors_bundle(name), reference)


@pytest.mark.slow
def test_the_graphs_give_what_the_authors_resnet12_gives(resnet12_filled, shared, exported):
    bundle = open_bundle(exported(resnet12_filled, preprocessing="squash"))
    with np.load(shared("reference/resnet12_filled_5way_1shot.npz")) as reference:
        assert_reproduced(bundle, reference)


@pytest.mark.slow
def test_support_tokens_in_the_graph_are_those_of_the_authors(authors_bundle, shared):
    """Keys and values are linear in the support tokens: those of the authors' tokens must be ours."""
    bundle = authors_bundle("conv4_cub")
    weights = load_checkpoint(shared("reference/conv4_cub.pth")).network.state_dict()
    with np.load(shared("reference/conv4_cub_5way_5shot.npz")) as reference:
        enrolled = open_backend(bundle).run("enroll", {"images": reference["images"][:2]})
        for level, key in (("high", "support_5x5"), ("mid", "support_10x10")):
            tokens = reference[key].reshape(2, 64, -1).transpose(0, 2, 1)
            qkv = tokens @ weights[f"heads.{level}.qkv.weight"].numpy().T
            assert_close(enrolled[f"k_{level}"], qkv[..., 64:128], f"k_{level}")
            assert_close(enrolled[f"v_{level}"], qkv[..., 128:], f"v_{level}")
