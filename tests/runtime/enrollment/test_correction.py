"""Corrections: a photo moves to its right species, in one change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gallery_files import RIDGE, photo

import hmdrn
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_record import PhotoRecord
from hmdrn_runtime.gallery.state import correct_photo
from hmdrn_runtime.specimens.drawing import draw_specimens


def gallery(**seeds: list[int]) -> Gallery:
    made = Gallery(RIDGE)
    for label, members in seeds.items():
        made.add(label, [photo(RIDGE, seed) for seed in members])
    return made


def seeds(state) -> dict[str, set[str]]:
    return {label: set(species.photos) for label, species in state.species.items()}


def test_a_photo_is_moved_in_one_change_with_its_record():
    before = gallery(ant=[1, 2], bee=[3]).state
    record = PhotoRecord("a.jpg", "", "2026-05-01T08:30:00Z", "good")
    named = replace(photo(RIDGE, 1), record=record)
    after = correct_photo(before, "bee", named)
    assert seeds(after) == seeds(gallery(ant=[2], bee=[1, 3]).state)
    assert after.species["bee"].photos[named.digest].record == record
    assert after.generation == before.generation + 1
    assert after.history[-1].what == f"corrected: moved photo a.jpg ({named.digest[:12]}) from 'ant'"


def test_the_last_photo_takes_its_species_with_it_and_a_new_one_is_made():
    after = correct_photo(gallery(ant=[1], bee=[3]).state, "cat", photo(RIDGE, 1))
    assert seeds(after) == seeds(gallery(bee=[3], cat=[1]).state)
    assert list(after.species) == ["bee", "cat"]


def test_a_photo_that_is_right_already_changes_nothing():
    before = gallery(ant=[1, 2], bee=[3]).state
    assert correct_photo(before, " ant ", photo(RIDGE, 1)) is before


def test_a_photo_is_taken_from_all_other_species_but_not_from_a_sum():
    moved = correct_photo(gallery(ant=[1, 2], bee=[1, 3], cat=[4]).state, "cat", photo(RIDGE, 1))
    assert seeds(moved) == seeds(gallery(ant=[2], bee=[3], cat=[1, 4]).state)
    compacted = gallery(ant=[1, 2], bee=[3])
    compacted.compact(["ant"])
    with pytest.raises(GalleryError, match="of 'ant' is part of a sum since the species was compacted"):
        correct_photo(compacted.state, "bee", photo(RIDGE, 1))
    with pytest.raises(EnrollmentError, match="is empty"):
        correct_photo(compacted.state, " ", photo(RIDGE, 1))


def test_the_answer_and_the_expected_accuracy_follow_a_correction():
    drawn = draw_specimens(range(2), 3, size=96)
    birds = hmdrn.load("default", threads=1)
    birds.enroll("ant", [drawn[0][0], drawn[0][1], drawn[1][0]])
    birds.enroll("bee", [drawn[1][1]])
    correction = birds.correct(drawn[1][0], "bee")
    assert (correction.moved_from, correction.is_new, correction.removed) == (("ant",), False, ())
    assert correction.changed
    assert (correction.enrollment.shots, birds.gallery.species["ant"].shots) == (2, 2)
    assert correction.before.share < correction.after.share
    assert birds.classify(drawn[1][0]).label == "bee"
    (report,) = correction.enrollment.photos
    assert birds.gallery.species["bee"].photos[report.digest].record.verdict == report.verdict
    again = birds.correct(drawn[1][0], "bee")
    assert not again.changed
    assert again.before == again.after
