"""Readings of a watching process, and their summary."""

from __future__ import annotations

import os
import time

import cv2
import numpy as np
import pytest

import hmdrn
from benchmarks.motion.film import Film, FilmSettings
from benchmarks.watching import RATE, Reading, read_process, summarize, watch_film, write_film

FULL = os.environ.get("HMDRN_SOAK") == "full"
SECONDS, FILM_SECONDS = (1800, 120) if FULL else (30, 10)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")  # noqa: PTH112
def test_a_process_is_read_until_it_has_ended():
    used = time.process_time()
    reading = read_process(os.getpid(), time.monotonic() - 5)
    assert reading is not None
    assert reading.seconds == pytest.approx(5, abs=1)
    assert reading.cpu == pytest.approx(used, abs=0.5)
    assert reading.mib > 10
    assert read_process(2**22 + 1, 0.0) is None


def test_growth_of_memory_is_measured_from_the_first_minute_on():
    readings = [Reading(5.0 * i, 3 + 0.4 * 5 * i, 200 - 10 * (i < 12) + 0.05 * i) for i in range(1, 61)]
    values = summarize(readings)
    assert values["mib_settled"] == 200.6
    assert values["mib_last"] == values["mib_most"] == 203
    assert values["mib_growth_in_ten_minutes"] == 6.0
    assert summarize(readings[:14])["mib_growth_in_ten_minutes"] is None


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")  # noqa: PTH112
def test_memory_of_watching_1080p_stays_flat_and_under_250_mb(tmp_path):
    """Half a minute of it; HMDRN_SOAK=full watches for half an hour."""
    birds = hmdrn.load("default", threads=1)
    drawn = hmdrn.draw_specimens(range(4), 6, size=256)
    for number, photos in enumerate(drawn):
        birds.enroll(f"species {number}", list(photos[:3]))
    birds.save_gallery(tmp_path / "film.gallery")
    subjects = [np.ascontiguousarray(photo[..., ::-1]) for photos in drawn for photo in photos[3:]]
    cv2.setNumThreads(1)
    write_film(tmp_path / "film.mp4", Film(subjects, FilmSettings(FILM_SECONDS, RATE)))
    readings, counts = watch_film(tmp_path, SECONDS, every_frame=False)
    thirds = np.array_split([reading.mib for reading in readings], 3)
    assert counts["classified"] > SECONDS
    assert max(reading.mib for reading in readings) < 250e6 / 2**20
    assert abs(thirds[2].mean() - thirds[1].mean()) < 5, [reading.mib for reading in readings]
