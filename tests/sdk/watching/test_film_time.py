"""Frames of a film have the times of its recording; of one that is played, the present."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime, timezone

import pytest
from outcomes import assert_refused

import hmdrn
from hmdrn.watching.film_time import find_film_start
from hmdrn_runtime.errors import SourceError

MAY = datetime(2025, 5, 1, 8, 30, tzinfo=timezone.utc)
SECONDS = 3
"""Length of the site's film."""


@pytest.fixture
def film(site, tmp_path):
    """The site's film, with an end in May."""
    path = shutil.copy(site.film, tmp_path / "may.mp4")
    os.utime(path, (MAY.timestamp(), MAY.timestamp()))
    return path


def read_times(recognizer, film, **options):
    results = list(hmdrn.watch(recognizer, film, max_frames=40, **options))
    return [(result.frame.time, result.frame.position) for result in results]


def test_a_film_ends_at_its_files_last_change(recognizer, film):
    times = read_times(recognizer, film)
    begin = MAY.timestamp() - SECONDS
    assert times[-1][1] > 1
    assert all(moment == pytest.approx(begin + position) for moment, position in times)


def test_a_given_start_dates_a_film(recognizer, film):
    moment, position = read_times(recognizer, film, start=MAY)[-1]
    assert moment == pytest.approx(MAY.timestamp() + position)


@pytest.mark.parametrize("options", [{"loop": True}, {"every_frame": False}])
def test_a_film_that_is_played_has_the_present_time(recognizer, film, options):
    [(moment, _), *_] = read_times(recognizer, film, max_seconds=0.2, **options)
    assert time.time() - moment < 60
    with pytest.raises(SourceError, match="every frame is answered once"):
        hmdrn.watch(recognizer, film, start=MAY, **options)


def test_a_source_that_is_not_a_film_has_no_start(recognizer, site):
    with pytest.raises(SourceError, match="cannot date"):
        hmdrn.watch(recognizer, site.photos[0], start=MAY)


def test_a_file_that_is_gone_has_the_present_time(tmp_path):
    assert time.time() - find_film_start(tmp_path / "gone.mp4", 5) < 60


def test_the_command_takes_the_start(hmdrn, site, film):
    places = ("--source", film, "--gallery", site.gallery, "--max-frames", 1)
    outcome = hmdrn("watch", "default", *places, "--all", "--start", "2025-04-01T08:30Z")
    assert json.loads(outcome.out.splitlines()[0])["time"] == "2025-04-01T08:30:00.000Z"
    assert_refused(hmdrn("watch", "default", *places, "--start", "noon"), "'noon' is not a time")
