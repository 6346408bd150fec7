from __future__ import annotations

import numpy as np
import pytest

import hmdrn
from benchmarks import qdrant_recall
from benchmarks.qdrant_index import index_recall
from benchmarks.species_cache import Species
from hmdrn_runtime.gallery.photo_statistics import gram_sum
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("qdrant_client")


@pytest.fixture(scope="module")
def drawn():
    """A recognizer of 8 species of 1 or 2 photos, and a photo of each."""
    one = hmdrn.load(backend="onnxruntime", threads=1)
    images = draw_specimens(range(8), 3, size=84)
    for i, photos in enumerate(images):
        one.enroll(f"species {i:06}", list(photos[: 1 + i % 2]))
    return one, [photos[2] for photos in images]


def test_a_gallery_of_the_cache_answers_as_the_photos_that_were_summed(drawn, tmp_path):
    one, photos = drawn
    network, species = one.gallery.network, one.gallery.species.values()
    sums = np.stack([gram_sum(network, s.photos.values()) for s in species])
    (tmp_path / "sums.f32").write_bytes(sums.astype(np.float32).tobytes())
    (tmp_path / "shots.u8").write_bytes(bytes(s.shots for s in species))
    gallery = qdrant_recall.gallery_of(Species(tmp_path, network.packed), network, 8)
    other = Recognizer(one.bundle, one.backend, gallery)
    for photo in photos[:3]:
        found, expected = other.classify(photo), one.classify(photo)
        assert [m.label for m in found.ranking] == [m.label for m in expected.ranking]
        assert found.probability == pytest.approx(expected.probability, rel=1e-5)


def test_species_that_the_engine_does_not_find_and_logits_that_are_off_are_seen(drawn):
    one, photos = drawn
    gallery = hmdrn.Gallery(one.gallery.network, one.gallery.species)
    engine = qdrant_recall.QdrantRecognizer(Recognizer(one.bundle, one.backend, gallery))
    engine.push()
    found = qdrant_recall.compared(engine, one, photos)
    assert (found["recall_at_1"], found["recall_at_5"]) == (1.0, 1.0)
    assert found["largest_logit_error"] < 1e-3
    assert found["largest_probability_error"] < 1e-3
    best = one.classify(photos[0])
    gallery.forget(best.label)
    engine.push()
    missing = qdrant_recall.compared(engine, one, photos[:1])
    assert missing["recall_at_1"] == 0.0
    assert missing["recall_at_5"] == pytest.approx(0.8)
    assert missing["largest_probability_error"] > 0.01


def test_the_index_finds_what_lies_apart_and_misses_what_it_does_not_have(drawn):
    pytest.importorskip("qdrant_edge")
    one, photos = drawn
    found = qdrant_recall.indexed(one, photos[:2], 8)
    assert found["as kept, without their mean"] == {"recall_at_1": 1.0, "recall_at_5": 1.0}
    random = np.random.default_rng(0)
    vectors = random.standard_normal((300, 12)).astype(np.float32)
    queries = list(random.standard_normal((5, 12)))
    best = np.argsort(-(np.array(queries) @ vectors.T), axis=1)[:, :1]
    assert index_recall(vectors, queries, best, 20) == 1.0
    assert index_recall(vectors, queries, best + 1000, 20) == 0.0
