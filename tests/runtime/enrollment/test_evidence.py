"""Verdicts on copies, on clean galleries and on wrong photos."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from preprocessings import DEFAULT

import hmdrn
from hmdrn_runtime.enrollment.evidence import PROBABLY_WRONG, compare_species
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.specimens.drawing import draw_specimens

SPECIES, SHOTS = 5, 5


@pytest.fixture(scope="module")
def matcher():
    return hmdrn.load("default", threads=1).matcher


@pytest.fixture(scope="module")
def photos(matcher):
    """Statistics of `SHOTS` + 1 photos of each species."""
    drawn = draw_specimens(range(SPECIES), SHOTS + 1, size=96)
    return {
        f"s{number}": matcher.compute_statistics(np.stack([prepare(image, DEFAULT) for image in images]))
        for number, images in enumerate(drawn)
    }


def save_again(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_a_photo_saved_again_or_cropped_by_pixels_counts_as_one_with_it():
    (image,) = draw_specimens([0], 1, size=160)[0]
    copies = [save_again(image, 60), *(image[n : 160 - n, n : 160 - n] for n in (1, 2, 3))]
    report = hmdrn.load("default", threads=1).enroll("ant", [image, *copies])
    assert [photo.duplicate_of for photo in report.photos] == [None, 1, 1, 1, 1]
    assert {photo.verdict for photo in report.photos[1:]} == {"like photo 1, counts as one with it"}


def test_no_photo_of_a_clean_gallery_is_probably_wrong(matcher, photos):
    gallery = {label: extend_species(None, label, members[:SHOTS]) for label, members in photos.items()}
    values = np.concatenate([compare_species(matcher, gallery, label, {}).values for label in gallery])
    assert len(values) == SPECIES * SHOTS
    assert values.min() >= PROBABLY_WRONG


def test_a_photo_of_another_species_is_named_and_never_good(matcher, photos):
    labels = list(photos)[:3]
    for label, source in zip(labels, labels[1:] + labels[:1], strict=True):
        gallery = {name: extend_species(None, name, photos[name][:SHOTS]) for name in labels}
        planted = photos[source][SHOTS]
        gallery[label] = extend_species(None, label, [*photos[label][: SHOTS - 1], planted])
        evidence = compare_species(matcher, gallery, label, {})
        row = evidence.digests.index(planted.digest)
        assert evidence.values[row] == evidence.values.min() < 0
        assert evidence.answers[row] == source
