"""Times from a correction to the next answer, and the visits that are corrected."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
from visit_examples import MORNING, make_visit

from benchmarks.corrections import (
    ASKED,
    Correction,
    await_name,
    find_visits,
    measure_names,
    plan_corrections,
    summarize,
)


def test_times_are_those_of_corrections_that_were_answered():
    corrections = [Correction(10.0, 10.5, 10.2, 10.6), Correction(20.0, 20.5, 20.4, 21.0)]
    values = summarize([*corrections, Correction(30.0, 30.5, None, None)])
    assert (values["corrections"], values["answered"]) == (3, 2)
    assert values["seconds_from_written_to_answered_median"] == 0.3
    assert values["seconds_from_written_to_answered_longest"] == 0.4
    assert values["seconds_from_ended_to_answered_median"] == -0.2
    assert values["seconds_from_ended_to_named_longest"] == 0.5
    assert summarize([])["seconds_from_written_to_named_median"] is None


def test_visits_are_those_of_a_part_of_the_film_with_pictures():
    starts, pictures = (0, 8, 15.9, 16), (2, 2, 0, 2)
    visits = [
        make_visit(start / 3600, pictures=count, id=number)
        for number, (start, count) in enumerate(zip(starts, pictures, strict=True), 1)
    ]
    assert find_visits(visits, MORNING.timestamp(), 8, 16) == [2]


def test_a_stranger_is_corrected_when_it_comes_again():
    visits = [
        SimpleNamespace(subject=subject, start=start) for start, subject in enumerate((0, 1, 2, 1, 0, 0))
    ]
    pairs = plan_corrections(visits)
    assert [(first.start, second.start) for first, second in pairs] == [(1, 3), (0, 4)]


class Events:
    """A film's events: position, the frame's own answer, and the smoothed label."""

    def __init__(self, *events):
        self._events = iter(events)

    def next_event(self):
        position, answer, label = next(self._events)
        sighting = {"answer": {"label": answer}, "label": label}
        return 100 + position, {"event": "frame", "position": position, "sightings": [sighting]}


def test_a_name_counts_from_the_first_frame_that_has_it():
    film = Events((1, "Jay", "Jay"), (2, "Wren", "Jay"), (3, "Wren", "Jay"), (4, "Wren", "Wren"))
    assert await_name(film, "Wren", 8) == (102, 104)
    assert await_name(Events((1, "Wren", "Jay"), (8, "Wren", "Wren")), "Wren", 8) == (101, None)


class ThreePhotosNeeded:
    """A recognizer that knows a species once it was taught three photos of it."""

    def __init__(self):
        self._taught = Counter()

    def enroll(self, label, photos):
        self._taught[label] += len(photos) if isinstance(photos, list) else 1

    def classify_batch(self, photos):
        assert len(photos) == ASKED
        return [SimpleNamespace(label=photo if self._taught[photo] >= 3 else "Jay") for photo in photos]


def test_names_are_asked_after_one_two_three_and_five_photos(monkeypatch):
    monkeypatch.setattr("hmdrn.load", lambda *arguments, **options: ThreePhotosNeeded())
    classes = {
        f"bird {number}": [SimpleNamespace(load=lambda label=f"bird {number}": label)] * 17
        for number in range(7)
    }
    values = measure_names(classes, 4, np.random.default_rng(0))
    assert values["strangers"] == 4
    assert [values[f"right_after_{count}"] for count in (1, 2, 3, 5)] == [0, 0, 100, 100]
