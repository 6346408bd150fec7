"""Progress of an enrollment."""

from __future__ import annotations

import pytest

import hmdrn
from hmdrn_runtime.enrollment import enroll
from hmdrn_runtime.specimens.drawing import draw_specimens


def test_progress_comes_before_each_batch_and_can_end_the_work(monkeypatch):
    monkeypatch.setattr(enroll, "BATCH", 2)
    recognizer, (photos,) = hmdrn.load("default", threads=1), draw_specimens([0], 3, size=64)
    steps: list[tuple[str, int, int]] = []

    def add(report):
        enroll.enroll_photos(
            recognizer.solved_gallery, "Moth", list(photos), recognizer.preprocessing, report
        )

    def give_up(*step):
        steps.append(step)
        if step[1]:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        add(give_up)
    assert steps == [("computing statistics", 0, 3), ("computing statistics", 2, 3)]
    assert len(recognizer.gallery) == 0
    add(lambda *step: None)
    assert recognizer.gallery.species["Moth"].shots == 3
