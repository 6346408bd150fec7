"""Readings of a watching process, and their summary."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks.watching import Reading, read_process, summarize


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
