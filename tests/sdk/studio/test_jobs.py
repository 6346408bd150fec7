from __future__ import annotations

import threading

import pytest

from hmdrn.studio.jobs import CANCELLED, DONE, FAILED, Jobs
from hmdrn_runtime.errors import HmdrnError


def test_a_job_reports_progress_and_its_result():
    jobs, seen = Jobs(), []

    def work(progress):
        progress("counting", 1, 2)
        seen.append(jobs.running)
        return "two"

    jobs.start("Counting", "/models", work)
    jobs.wait(5)
    assert (seen[0].step, seen[0].done, seen[0].total) == ("counting", 1, 2)
    assert (jobs.status.state, jobs.status.message, jobs.running) == (DONE, "two", None)


def test_a_cancelled_job_ends_at_its_next_step():
    jobs, started, go_on = Jobs(), threading.Event(), threading.Event()

    def work(progress):
        started.set()
        go_on.wait(5)
        progress("next", 1, 2)
        return "never"

    number = jobs.start("Waiting", "/models", work).number
    started.wait(5)
    jobs.cancel(number + 1)
    jobs.cancel(number)
    go_on.set()
    jobs.wait(5)
    assert jobs.status.state == CANCELLED


def test_a_second_job_waits_for_the_first():
    jobs, go_on = Jobs(), threading.Event()
    jobs.start("Self-test", "/models", lambda progress: str(go_on.wait(5)))
    with pytest.raises(HmdrnError, match="Self-test is running"):
        jobs.start("Other", "/models", lambda progress: "")
    go_on.set()
    jobs.close()


def test_a_failed_job_gives_its_reason():
    jobs = Jobs()

    def work(progress):
        raise HmdrnError("the disk is full")

    jobs.start("Writing", "/models", work)
    jobs.wait(5)
    assert (jobs.status.state, jobs.status.message) == (FAILED, "the disk is full")


def test_short_work_gives_its_result_at_once():
    jobs = Jobs()
    assert jobs.run("Counting", "/models", lambda progress: "two", patience=5) == "two"
    assert jobs.status.is_seen
    with pytest.raises(HmdrnError, match="the disk is full"):
        jobs.run("Writing", "/models", fail, patience=5)


def fail(progress):
    raise HmdrnError("the disk is full")


def test_long_work_goes_on_after_the_wait():
    jobs, go_on = Jobs(), threading.Event()
    assert jobs.run("Waiting", "/models", lambda progress: str(go_on.wait(5)), patience=0) is None
    assert jobs.run("Beside", "/models", lambda progress: "done", patience=0) == "done"
    assert jobs.running.title == "Waiting"
    go_on.set()
    jobs.wait(5)
    assert (jobs.status.state, jobs.status.is_seen) == (DONE, False)


def test_work_that_is_done_is_not_called_cancelled():
    jobs = Jobs()

    def work(progress):
        progress.cancel()
        return "written"

    jobs.start("Writing", "/models", work)
    jobs.wait(5)
    assert (jobs.status.state, jobs.status.message) == (DONE, "written")
