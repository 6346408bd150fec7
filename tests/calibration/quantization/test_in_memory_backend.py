"""Candidates that start a graph between answer as those that start it from the photo."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_calibration.quantization.in_memory_backend import CandidateBackend, recognizer
from hmdrn_calibration.quantization.layers import photo_graphs
from hmdrn_calibration.quantization.ort_session import rest_of
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.evaluation.evaluation import BundleScorer, TokenScorer
from hmdrn_runtime.recognizer import Recognizer


@pytest.fixture(scope="module")
def attention(exported):
    return open_bundle(exported("conv4", "attention"))


def test_queries_whose_tokens_are_kept_score_as_their_photos_do(attention, drawn):
    backend = open_backend(attention, threads=1)
    candidate = CandidateBackend(photo_graphs(attention), backend, threads=1)
    by_tokens = TokenScorer(recognizer(attention, candidate, "candidate"))
    by_photos = BundleScorer(Recognizer(attention, backend))
    support = np.array([[10 * c, 10 * c + 1] for c in range(3)])
    query = np.array([10 * c + i for c in range(3) for i in range(2, 10)] * 2)
    assert len(query) > 32, "more than go through the graph at once"
    scores = []
    for scorer in (by_tokens, by_photos):
        for photos in drawn[:3]:
            scorer.see(np.stack([photo.pixels for photo in photos]))
        scores.append(scorer.scores(support, query))
    assert scores[0].logits.shape == (48, 3)
    assert np.allclose(scores[0].logits, scores[1].logits, rtol=1e-5)
    for name, distances in scores[1].distances.items():
        assert np.allclose(scores[0].distances[name], distances, rtol=1e-5)


def test_what_is_left_of_a_graph_computes_nothing_that_is_given(attention):
    models = photo_graphs(attention)
    made = {value.name: value for value in models["explain"].graph.output}
    given = {name: value for name, value in made.items() if name.startswith(("query_q", "query_v"))}
    others = {value.name for value in models["classify"].graph.input} - {"images"}
    rest = rest_of(models["classify"], given, others)
    assert {value.name for value in rest.graph.input} == others | set(given)
    assert not any(node.op_type in ("Conv", "LayerNormalization") for node in rest.graph.node)
    assert sum(weight.ByteSize() for weight in rest.graph.initializer) < 10_000


def test_a_graph_that_no_candidate_replaces_is_the_bundles_own(attention, drawn):
    pixels = drawn[0][0].pixels[None]
    backend = open_backend(attention, threads=1)
    candidate = CandidateBackend({}, backend, threads=1)
    for name, array in backend.run("enroll", {"images": pixels}).items():
        assert np.array_equal(candidate.run("enroll", {"images": pixels})[name], array)
