from __future__ import annotations

import numpy as np
import pytest

import hmdrn
from hmdrn.studio.support import weigh_photos
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture
def recognizer(loaded):
    recognizer = hmdrn.Recognizer(loaded.bundle, loaded.backend)
    for label, images in zip("ab", draw_specimens(range(2), 3, size=128), strict=True):
        recognizer.enroll(label, list(images))
    return recognizer


def test_a_photos_weight_is_what_forgetting_it_costs(recognizer):
    photo = prepare_query(draw_specimens([0], 4, size=128)[0][3], recognizer.preprocessing)
    weights = weigh_photos(recognizer, photo, recognizer.gallery.species["a"])
    before = recognizer.classify(photo).ranking
    recognizer.forget("a", weights[0].photo.digest)
    after = recognizer.classify(photo).ranking
    logits = [next(match.logit for match in ranking if match.label == "a") for ranking in (before, after)]
    assert weights[0].log_odds == pytest.approx(logits[0] - logits[1], abs=1e-3)
    assert [w.log_odds for w in weights] == sorted((w.log_odds for w in weights), reverse=True)


def test_the_photo_itself_weighs_most_and_is_marked(recognizer):
    own = draw_specimens(range(2), 3, size=128)[0][1]
    pixels = prepare_query(own, recognizer.preprocessing)
    first, *others = weigh_photos(recognizer, pixels, recognizer.gallery.species["a"])
    assert first.is_same
    assert not any(weight.is_same for weight in others)


def test_a_single_photo_cannot_be_weighed(loaded):
    recognizer = hmdrn.Recognizer(loaded.bundle, loaded.backend)
    pixels = np.asarray(draw_specimens([0], 1, size=128)[0][0])
    recognizer.enroll("a", pixels)
    prepared = prepare_query(pixels, recognizer.preprocessing)
    assert weigh_photos(recognizer, prepared, recognizer.gallery.species["a"]) == []
