"""Many threads classify while another changes the gallery."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hmdrn
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.recognizer import Recognizer

CYCLES = int(os.environ.get("HMDRN_CYCLES", "15"))
QUERY = np.random.default_rng(99).integers(0, 256, (84, 84, 3), dtype=np.uint8)


def photos(seed: int, count: int) -> np.ndarray:
    """Photos of a contrast of their own, so that no two states give like answers."""
    rng = np.random.default_rng(seed)
    return rng.normal(30 * seed + 20, 6 * seed + 4, (count, 84, 84, 3)).clip(0, 255).astype(np.uint8)


def logits(prediction: Prediction) -> dict[str, float]:
    return {m.label: m.logit for m in prediction.ranking}


@dataclass
class Turn:
    """One step of a cycle that ends where it began."""

    label: str
    photos: np.ndarray | None

    def take(self, one: Recognizer) -> None:
        if self.photos is None:
            one.forget(self.label)
        else:
            one.enroll(self.label, self.photos)


CYCLE = [
    Turn("moth", photos(2, 1)),
    Turn("moth", photos(3, 2)),
    Turn("bee", photos(4, 1)),
    Turn("moth", None),
    Turn("ant", photos(5, 1)),
    Turn("bee", None),
    Turn("ant", None),
]


def started() -> Recognizer:
    one = hmdrn.load("default", threads=1)
    one.enroll("always", photos(1, 2))
    return one


@pytest.mark.slow
def test_every_answer_is_that_of_a_generation_that_existed():
    """8 threads classify while one enrolls and forgets; HMDRN_CYCLES=143 makes 1,001 changes."""
    one = started()
    expected = [logits(one.classify(QUERY, top=9))]
    for turn in CYCLE:
        turn.take(one)
        expected.append(logits(one.classify(QUERY, top=9)))
    assert expected[-1] == pytest.approx(expected[0], rel=1e-6)
    expected.pop()

    answers: list[list[dict[str, float]]] = [[] for _ in range(8)]
    errors: list[BaseException] = []
    done = threading.Event()

    def classify(mine: list[dict[str, float]]) -> None:
        try:
            while not done.is_set():
                found = logits(one.classify(QUERY, top=9))
                if not mine or mine[-1] != found:
                    mine.append(found)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=classify, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(CYCLES):
            for turn in CYCLE:
                turn.take(one)
                # Whoever has made a change sees it.
                assert (turn.label in logits(one.classify(QUERY, top=9))) == (turn.photos is not None)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert errors == []
    seen = [found for mine in answers for found in mine]
    assert len(seen) > CYCLES
    for found in seen:
        assert any(found == pytest.approx(state, rel=1e-5) for state in expected), found


def held_up(one: Recognizer, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let solves wait: the first event is set when one has begun, the second lets it go on."""
    entered, go_on = threading.Event(), threading.Event()
    run = one.backend.run

    def slow(graph: str, inputs: Any) -> Any:
        if graph == "solve":
            entered.set()
            assert go_on.wait(60)
        return run(graph, inputs)

    monkeypatch.setattr(one.backend, "run", slow)
    return entered, go_on


def test_classification_does_not_wait_for_a_solve(monkeypatch):
    """The solve is held up; frames are answered by the generation before until it is done."""
    one = started()
    before = logits(one.classify(QUERY))
    entered, go_on = held_up(one, monkeypatch)
    enrolling = threading.Thread(target=one.enroll, args=("moth", photos(2, 1)))
    enrolling.start()
    assert entered.wait(20)
    for _ in range(5):
        assert logits(one.classify(QUERY)) == before
    assert enrolling.is_alive()
    go_on.set()
    enrolling.join()
    assert set(logits(one.classify(QUERY))) == {"always", "moth"}


def elsewhere(call: Callable[[], Any]) -> Any:
    """The answer of a thread that has changed nothing; it has to come without anyone's help."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(20)


def merged(one: Recognizer) -> None:
    """Take in another gallery, with a moth."""
    other = started()
    other.enroll("moth", photos(2, 1))
    one.gallery.merge(other.gallery)


def saved(one: Recognizer, path: Path) -> None:
    """Save where another process has enrolled a moth in the meantime."""
    one.save_gallery(path)
    other = hmdrn.load("default", gallery=path, threads=1)
    other.enroll("moth", photos(2, 1))
    other.save_gallery(path)
    one.save_gallery(path)


@pytest.mark.parametrize("change", ["merge", "save"])
def test_other_threads_use_the_previous_snapshot_until_all_is_solved(monkeypatch, tmp_path, change):
    one = started()
    before = logits(one.classify(QUERY))
    entered, go_on = held_up(one, monkeypatch)
    if change == "merge":
        merged(one)
    else:
        saved(one, tmp_path / "g")
    try:
        # The first of these has it solved, and none waits for that.
        for _ in range(3):
            assert logits(elsewhere(lambda: one.classify(QUERY))) == before
        assert entered.wait(20)
        assert logits(elsewhere(lambda: one.classify(QUERY))) == before
    finally:
        go_on.set()
    elsewhere(one.refresh)
    assert set(logits(elsewhere(lambda: one.classify(QUERY)))) == {"always", "moth"}


def test_the_thread_that_changed_the_gallery_sees_its_change_at_once():
    one = started()
    one.classify(QUERY)
    merged(one)
    assert set(logits(one.classify(QUERY))) == {"always", "moth"}
    one.gallery.rename("moth", "hawk-moth")
    assert set(logits(one.classify(QUERY))) == {"always", "hawk-moth"}


def test_the_changing_thread_waits_while_another_solves_its_change(monkeypatch):
    one = started()
    entered, go_on = held_up(one, monkeypatch)
    merged(one)
    elsewhere(lambda: one.classify(QUERY))
    assert entered.wait(20)
    threading.Timer(0.2, go_on.set).start()
    assert set(logits(one.classify(QUERY))) == {"always", "moth"}


def test_without_a_generation_before_a_thread_waits_for_the_first():
    one = hmdrn.load("default", threads=1)
    merged(one)
    assert set(logits(elsewhere(lambda: one.classify(QUERY)))) == {"always", "moth"}


def test_a_species_that_cannot_be_solved_is_named_to_the_other_threads_too(monkeypatch):
    one = started()
    before = logits(one.classify(QUERY))

    def refused(*_: Any) -> Any:
        raise EnrollmentError("'moth' cannot be enrolled: its ridge solve did not converge")

    monkeypatch.setattr(one.matcher, "solve", refused)
    merged(one)
    assert logits(elsewhere(lambda: one.classify(QUERY))) == before
    with pytest.raises(EnrollmentError, match="moth"):
        one.refresh()
    assert one.solved_gallery._solving is not None
    one.solved_gallery._solving.done.exception(20)
    with pytest.raises(EnrollmentError, match="moth"):
        elsewhere(lambda: one.classify(QUERY))
    one.gallery.forget("moth")
    assert logits(one.classify(QUERY)) == pytest.approx(before)
