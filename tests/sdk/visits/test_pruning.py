"""Clips take at most half of the file, and leave it with the pictures of the oldest visits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from visit_examples import encode_jpeg, make_clip, make_visit

from hmdrn.visits.store import VisitStore


@pytest.fixture
def small(tmp_path):
    """A file of one megabyte."""
    with VisitStore(tmp_path / "small.visits", create=True, max_megabytes=1) as store:
        yield store


def with_clips(store):
    return [visit.id for visit in store.find() if visit.clip]


def test_the_oldest_clips_leave_first_and_take_at_most_half(small):
    for hours in range(8):
        assert small.save_clip(small.save(make_visit(hours)).id, make_clip(120_000))
    assert with_clips(small) == [5, 6, 7, 8]
    assert all(len(visit.pictures) == 2 for visit in small.find())


def test_a_clip_that_is_larger_than_their_share_is_refused(small):
    visit = small.save(make_visit())
    small.save_clip(visit.id, make_clip(400_000))
    assert not small.save_clip(small.save(make_visit(1)).id, make_clip(500_001))
    assert with_clips(small) == [visit.id], "no clip made room for it"


def test_a_full_file_takes_pictures_and_clip_of_a_visit_at_once(small):
    big = tuple(replace(picture, jpeg=encode_jpeg(7, 400)) for picture in make_visit().pictures)
    for hours in range(20):
        small.save_clip(small.save(replace(make_visit(hours), pictures=big)).id, make_clip(100_000))
    visits = small.find()
    assert len(visits) == 20
    assert [bool(visit.pictures) for visit in visits] == sorted(bool(visit.pictures) for visit in visits)
    assert all(visit.pictures for visit in visits if visit.clip)
    assert with_clips(small)[-1] == 20
    assert small.path.stat().st_size <= 1e6
