from __future__ import annotations

import numpy as np
import pytest

import hmdrn
from benchmarks import qdrant_recall
from benchmarks.qdrant_index import measure_index_recall
from benchmarks.species_cache import SpeciesCache
from hmdrn_runtime.gallery.photo_statistics import gram_sum
from hmdrn_runtime.recognizer import Recognizer
from hmdrn_runtime.specimens.drawing import draw_specimens

pytest.importorskip("qdrant_client")


@pytest.fixture(scope="module")
def drawn():
    """A recognizer of 8 species of 1 or 2 photos, and a photo of each."""
    birds = hmdrn.load(backend="onnxruntime", threads=1)
    images = draw_specimens(range(8), 3, size=birds.bundle.manifest.input.size)
    for i, photos in enumerate(images):
        birds.enroll(f"species {i:06}", list(photos[: 1 + i % 2]))
    return birds, [photos[2] for photos in images]


def test_a_gallery_of_sums_answers_as_one_of_the_photos(drawn, tmp_path):
    birds, photos = drawn
    network, species = birds.gallery.network, birds.gallery.species.values()
    sums = np.stack([gram_sum(network, s.photos.values()) for s in species])
    (tmp_path / "sums.f32").write_bytes(sums.astype(np.float32).tobytes())
    (tmp_path / "shots.u8").write_bytes(bytes(s.shots for s in species))
    gallery = qdrant_recall.build_gallery(SpeciesCache(tmp_path, network.packed), network, 8)
    other = Recognizer(birds.bundle, birds.backend, gallery)
    for photo in photos[:3]:
        answer, expected = other.classify(photo), birds.classify(photo)
        assert [m.label for m in answer.ranking] == [m.label for m in expected.ranking]
        assert answer.probability == pytest.approx(expected.probability, rel=1e-5)


def test_missing_species_and_wrong_probabilities_are_noticed(drawn):
    birds, photos = drawn
    gallery = hmdrn.Gallery(birds.gallery.network, birds.gallery.species)
    engine = qdrant_recall.QdrantRecognizer(Recognizer(birds.bundle, birds.backend, gallery))
    engine.push()
    recall = qdrant_recall.compare_engine(engine, birds, photos)
    assert (recall["recall_at_1"], recall["recall_at_5"]) == (1.0, 1.0)
    assert recall["largest_logit_error"] < 1e-3
    assert recall["largest_probability_error"] < 1e-3
    best = birds.classify(photos[0])
    gallery.forget(best.label)
    engine.push()
    missing = qdrant_recall.compare_engine(engine, birds, photos[:1])
    assert missing["recall_at_1"] == 0.0
    assert missing["recall_at_5"] == pytest.approx(0.8)
    assert missing["largest_probability_error"] > 0.01


def test_the_index_recalls_distinct_vectors_and_no_missing_ones(drawn):
    pytest.importorskip("qdrant_edge")
    birds, photos = drawn
    recall = qdrant_recall.measure_index(birds, photos[:2], 8)
    assert recall["as kept, without their mean"] == {"recall_at_1": 1.0, "recall_at_5": 1.0}
    random = np.random.default_rng(0)
    vectors = random.standard_normal((300, 12)).astype(np.float32)
    queries = list(random.standard_normal((5, 12)))
    best = np.argsort(-(np.array(queries) @ vectors.T), axis=1)[:, :1]
    assert measure_index_recall(vectors, queries, best, 20) == 1.0
    assert measure_index_recall(vectors, queries, best + 1000, 20) == 0.0
