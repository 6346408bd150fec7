"""Regions followed from frame to frame, of which some are subjects."""

from __future__ import annotations

import pytest

from hmdrn.detectors.blob_tracks import MIN_NOVELTY, BlobTrack, BlobTracker
from hmdrn.detectors.blobs import Blob

RATE = 10.0


def follow(corners, novelty=1.0, side=10.0):
    """Return the tracks of one square region, whose left upper corner is in these places."""
    tracker = BlobTracker(lambda blob, born: novelty)
    for index, (x, y) in enumerate(corners):
        tracker.update([Blob((x, y, x + side, y + side), side * side)], index / RATE)
    return tracker.tracks


def test_a_subject_too_fast_for_its_places_to_overlap_is_one_subject():
    (track,) = follow([(25.0 * index, 5.0 * index) for index in range(8)])
    assert (track.confirmed, track.sightings) == (True, 8)


@pytest.mark.parametrize("places", [[0, 25], [0, 9], [0, 25, 25, 0], [0, 60, 120]])
def test_a_region_that_jumps_to_and_fro_or_too_far_is_not_a_subject(places):
    corners = [(float(places[index % len(places)]), 0.0) for index in range(20)]
    assert not any(track.confirmed for track in follow(corners))


@pytest.mark.parametrize(("novelty", "first"), [(0.9, 5), (0.3, 10), (0.1, None)])
def test_the_less_of_a_region_is_new_the_later_it_is_a_subject(novelty, first):
    confirmed = [follow([(0.0, 0.0)] * count, novelty)[0].confirmed for count in range(1, 21)]
    assert confirmed == [first is not None and count >= first for count in range(1, 21)]


def test_a_fast_subject_that_lands_is_one_subject():
    (track,) = follow([(9.0 * index, 0.0) for index in range(4)] + [(28.0, 0.0)] * 6)
    assert (track.confirmed, track.sightings) == (True, 10)


def test_a_leaf_that_is_where_a_subject_has_gone_is_not_a_subject():
    novelties = iter([0.9] * 4 + [0.0] * 16)
    tracker = BlobTracker(lambda blob, born: next(novelties))
    for index in range(20):
        tracker.update([Blob((0.0, 0.0, 10.0, 10.0), 100.0)], index / RATE)
    (track,) = tracker.tracks
    assert track.novelty > MIN_NOVELTY
    assert not track.confirmed


def test_sudden_growth_is_not_of_the_subject_until_it_lasts():
    box = (0.0, 0.0, 10.0, 20.0)
    track = BlobTrack(box, box, 0.0, 0.0, box, 0.0, 1.0)
    assert {track.note_size(10.0, 20.0) for _ in range(20)} == {(10.0, 20.0)}
    sizes = [track.note_size(30.0, 20.0) for _ in range(30)]
    assert sizes[:5] == [(10.0, 20.0)] * 5
    assert sizes[-1] == (30.0, 20.0)
    assert track.note_size(30.0, 23.0) == (30.0, 23.0)
