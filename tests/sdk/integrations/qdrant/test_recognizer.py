"""A gallery in Qdrant's local mode gives the same predictions as the recognizer."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from preprocessings import DEFAULT

import hmdrn
from hmdrn import open_set
from hmdrn.integrations.qdrant import recognizer as qdrant
from hmdrn.integrations.qdrant.recognizer import QdrantRecognizer
from hmdrn.integrations.qdrant.vectors import VectorForm
from hmdrn_runtime.gallery.photo_statistics import packed_gram
from hmdrn_runtime.specimens.drawing import draw_specimens

qdrant_client = pytest.importorskip("qdrant_client")

COUNT = 9


@pytest.fixture(scope="module")
def photos():
    return draw_specimens(range(COUNT + 1), 3, size=DEFAULT.side)


@pytest.fixture
def birds(photos):
    recognizer = hmdrn.load(backend="onnxruntime", threads=1)
    for i in range(COUNT):
        recognizer.enroll(f"species {i}", list(photos[i][:2]))
    return recognizer


def assert_equal(prediction, expected, probability=1e-6):
    assert prediction.label == expected.label
    assert prediction.known == expected.known
    assert prediction.probability == pytest.approx(expected.probability, rel=probability)
    assert prediction.margin == pytest.approx(expected.margin, rel=probability, abs=1e-6)
    assert [m.label for m in prediction.ranking] == [m.label for m in expected.ranking]
    for mine, theirs in zip(prediction.ranking, expected.ranking, strict=True):
        assert mine.logit == pytest.approx(theirs.logit, rel=1e-5)
        assert mine.probability == pytest.approx(theirs.probability, rel=probability)
        assert dict(mine.distances) == pytest.approx(dict(theirs.distances), rel=1e-4)


@pytest.mark.parametrize("candidates", [50, 4])
def test_predictions_are_those_of_the_recognizer(birds, photos, candidates):
    engine = QdrantRecognizer(birds, candidates=candidates)
    assert engine.push().added == tuple(f"species {i}" for i in range(COUNT))
    assert len(engine) == COUNT
    images = [photos[i][2] for i in range(COUNT)]
    # The sample is of all species: even with few candidates, nothing of the rest is an estimate.
    for prediction, image in zip(engine.classify_batch(images, top=4), images, strict=True):
        assert_equal(prediction, birds.classify(image, top=4), 1e-4)


def test_boxes_on_a_photo_are_classified_each_by_itself(birds, photos):
    engine = QdrantRecognizer(birds)
    engine.push()
    frame = np.concatenate([photos[1][2], photos[4][2]], axis=1)
    side = DEFAULT.side
    boxes = [(0, 0, side, side), (side, 0, 2 * side, side)]
    for prediction, expected in zip(engine.classify(frame, boxes), birds.classify(frame, boxes), strict=True):
        assert_equal(prediction, expected, 1e-4)


def test_unknowns_and_temperature_are_those_of_the_calibrated_gallery(birds, photos):
    open_set.calibrate_threshold(birds, 0.05)
    engine = QdrantRecognizer(birds)
    engine.push()
    for image in (photos[0][2], photos[COUNT][0], np.zeros_like(photos[0][0])):
        assert_equal(engine.classify(image), birds.classify(image), 1e-4)
    assert engine.classify(photos[0][2]).known is not None


def test_a_sample_estimates_the_probability_of_other_species(birds, photos, monkeypatch):
    monkeypatch.setattr(qdrant, "SAMPLE", 5)
    engine = QdrantRecognizer(birds, candidates=3)
    engine.push()
    prediction, expected = engine.classify(photos[0][2], top=3), birds.classify(photos[0][2], top=3)
    assert [m.label for m in prediction.ranking] == [m.label for m in expected.ranking]
    # The rest is less than the worst candidate takes, six times.
    worst = prediction.ranking[-1].probability
    assert 1 - 6 * worst <= sum(m.probability for m in prediction.ranking) < 1


def test_a_collection_made_by_hand_is_filled(birds, photos):
    client = qdrant_client.QdrantClient(":memory:")
    size = birds.gallery.network.packed
    vectors = qdrant_client.models.VectorParams(size=size, distance=qdrant_client.models.Distance.DOT)
    client.create_collection("made", vectors_config=vectors)
    engine = QdrantRecognizer(birds, client, "made")
    engine.push()
    assert_equal(engine.classify(photos[0][2]), birds.classify(photos[0][2]), 1e-4)


def test_a_push_sends_only_changes(birds, photos, tmp_path, monkeypatch):
    engine = QdrantRecognizer(birds, tmp_path / "engine")
    engine.push()
    birds.enroll("species 3", [photos[3][2]])
    birds.enroll("newcomer", list(photos[COUNT]))
    birds.forget("species 5")
    birds.gallery.rename("species 6", "renamed")
    sent: list[str] = []
    operators = birds.matcher.operators
    monkeypatch.setattr(
        birds.matcher,
        "operators",
        lambda species: (sent.extend(s.label for s in species), operators(species))[1],
    )
    report = engine.push()
    assert report.added == ("newcomer", "renamed")
    assert report.changed == ("species 3",)
    assert report.removed == ("species 5", "species 6")
    assert sorted(sent) == ["newcomer", "renamed", "species 3"]
    assert engine.push() == qdrant.PushReport((), (), ())
    for image in (photos[3][2], photos[COUNT][0], photos[6][0]):
        assert_equal(engine.classify(image), birds.classify(image), 1e-4)


def test_a_device_without_a_gallery_uses_the_pushed_one(birds, photos, tmp_path):
    first = QdrantRecognizer(birds, tmp_path / "engine", "site")
    first.push()
    first.collection.client.close()
    other = QdrantRecognizer(hmdrn.load(backend="onnxruntime", threads=1), tmp_path / "engine", "site")
    assert_equal(other.classify(photos[1][2]), birds.classify(photos[1][2]), 1e-4)


def test_a_collection_of_another_network_or_kind_is_refused(birds, photos):
    client = qdrant_client.QdrantClient(":memory:")
    engine = QdrantRecognizer(birds, client)
    with pytest.raises(hmdrn.GalleryError, match="collection 'hmdrn' does not exist: push"):
        engine.classify(photos[0][0])
    engine.push()
    engine.delete()
    with pytest.raises(hmdrn.GalleryError, match="does not exist: push"):
        len(engine)
    engine.push()
    engine.collection.network = replace(engine.collection.network, fingerprint="f" * 64)
    with pytest.raises(hmdrn.GalleryError, match="another network"):
        engine.push()
    size = qdrant_client.models.VectorParams(size=2, distance=qdrant_client.models.Distance.DOT)
    client.create_collection("other", vectors_config=size)
    client.upsert("other", points=[qdrant_client.models.PointStruct(id=1, vector=[1.0, 2.0])])
    with pytest.raises(hmdrn.GalleryError, match="not a gallery of hmdrn's"):
        QdrantRecognizer(birds, client, "other").push()


def test_an_empty_gallery_a_missing_engine_and_bad_numbers_are_errors(birds, photos):
    empty = hmdrn.load(backend="onnxruntime", threads=1)
    with pytest.raises(hmdrn.GalleryError, match="nothing has been enrolled"):
        QdrantRecognizer(empty).push()
    with pytest.raises(hmdrn.GalleryError, match="check the address"):
        QdrantRecognizer(birds, "http://127.0.0.1:9").push()
    with pytest.raises(hmdrn.HmdrnError, match="candidates is 0"):
        QdrantRecognizer(birds, candidates=0)
    engine = QdrantRecognizer(birds)
    engine.push()
    other = QdrantRecognizer(hmdrn.load(backend="onnxruntime", threads=1), engine.collection.client)
    other.push()
    for empty_engine in (engine, other):
        with pytest.raises(hmdrn.GalleryError, match="has no species"):
            empty_engine.classify(photos[0][0])
    with pytest.raises(hmdrn.HmdrnError, match="top is 0"):
        engine.classify(photos[0][0], top=0)


def test_without_the_package_the_message_says_how_to_install_it(birds, monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client.models", None)
    with pytest.raises(hmdrn.MissingDependencyError, match="qdrant-client"):
        QdrantRecognizer(birds)


def test_scores_of_vectors_are_the_logits_and_distances_of_their_operators(birds, photos):
    network = birds.gallery.network
    operators = np.stack(birds.matcher.operators(list(birds.gallery.species.values())))
    (statistics,) = birds.matcher.compute_statistics(photos[2][2][None])
    expected = birds.matcher.match([statistics], operators)
    form = VectorForm.fit(network, operators[:4])
    query = form.to_query(packed_gram(network, statistics.arrays["query"]).astype(np.float32))
    logits, distances = form.score(form.to_vectors(operators), query)
    assert logits == pytest.approx(expected.logits[0], rel=1e-5)
    for name, values in expected.distances.items():
        assert distances[name] == pytest.approx(values[0], rel=1e-4)
    ranked = form.to_vectors(operators).astype(np.float64) @ query
    assert list(np.argsort(ranked)) == list(np.argsort(logits))
