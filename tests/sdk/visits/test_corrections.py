"""Corrections teach the gallery, change the next answer, and can be undone."""

from __future__ import annotations

import shutil
import time

import pytest
from visit_examples import make_visit, show_specimens

import hmdrn
from hmdrn.visits.changes import list_changes, relabel_visits
from hmdrn.visits.corrections import choose_new_label, correct_visits, rename_visits, undo_change
from hmdrn.visits.filter import VisitFilter
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens.drawing import draw_specimens

SPECIES = ("Jay", "Wren")
STRANGER = 2
"""The drawn species that is not enrolled."""


@pytest.fixture(scope="module")
def drawn():
    return draw_specimens(range(3), 6, size=128)


@pytest.fixture(scope="module")
def enrolled(once, drawn):
    def make(folder):
        folder.mkdir()
        recognizer = hmdrn.load("default", threads=1)
        for number, label in enumerate(SPECIES):
            recognizer.enroll(label, list(drawn[number][:3]))
        recognizer.save_gallery(folder / "a.gallery")

    return once("two-birds", make) / "a.gallery"


@pytest.fixture
def gallery(enrolled, tmp_path):
    return shutil.copy(enrolled, tmp_path / "site.gallery")


@pytest.fixture
def birds(gallery):
    return hmdrn.load("default", gallery, threads=1)


def digests(recognizer):
    return {label: set(species.digests) for label, species in recognizer.gallery.species.items()}


def test_a_corrected_visit_changes_the_next_answer_within_a_second(store, birds, gallery, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:3], label="Jay"))
    next_photo = drawn[STRANGER][4]
    assert birds.classify(next_photo).label in SPECIES
    began = time.process_time()  # of this process alone, however busy the machine is
    correction = correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    assert birds.classify(next_photo).label == "Blackcap"
    assert time.process_time() - began < 1
    assert (correction.label, correction.is_new, correction.enrolled) == ("Blackcap", True, 3)
    (corrected,) = correction.visits
    assert (corrected.label, corrected.known, corrected.naming.verdict) == ("Blackcap", True, "species")
    assert corrected.naming.generation == birds.gallery.generation
    assert hmdrn.load("default", gallery, threads=1).classify(next_photo).label == "Blackcap"


def test_another_process_that_follows_the_gallery_learns_within_a_second(store, birds, gallery, drawn):
    watching = hmdrn.load("default", gallery, threads=1, follow=True)
    visit = store.save(show_specimens(drawn[STRANGER][:3], label="Jay"))
    assert watching.classify(drawn[STRANGER][4]).label in SPECIES
    correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    began = time.process_time()
    while watching.classify(drawn[STRANGER][4]).label != "Blackcap":
        assert time.process_time() - began < 1


def test_undoing_restores_the_names_and_the_gallery(store, birds, gallery, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:2], label="Jay"))
    before = digests(birds)
    correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    assert undo_change(store, birds, gallery).visits == (visit.id,)
    assert store.get(visit.id) == visit
    assert digests(birds) == before == digests(hmdrn.load("default", gallery, threads=1))
    with pytest.raises(HmdrnError, match="nothing to undo"):
        undo_change(store, birds, gallery)


def test_a_second_correction_takes_the_first_out_of_the_gallery(store, birds, gallery, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:2], label="Jay"))
    before = digests(birds)
    correct_visits(store, [visit.id], "Wren", birds, gallery)
    wrong = digests(birds)
    correction = correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    assert (correction.enrolled, correction.removed) == (2, 2)
    assert digests(birds)["Wren"] == before["Wren"]
    undo_change(store, birds, gallery)
    assert digests(birds) == wrong
    assert store.get(visit.id).label == "Wren"
    undo_change(store, birds, gallery)
    assert digests(birds) == before


def test_a_correction_of_a_species_that_was_renamed_since_is_undone(store, birds, gallery, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:2], label="Jay"))
    before = digests(birds)
    correct_visits(store, [visit.id], "Wren", birds, gallery)
    birds.gallery.rename("Wren", "Winter Wren")
    correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    assert digests(birds)["Winter Wren"] == before["Wren"]
    undo_change(store, birds, gallery)
    undo_change(store, birds, gallery)
    assert digests(birds) == {"Jay": before["Jay"], "Winter Wren": before["Wren"]}


def test_visits_of_a_renamed_species_get_its_name_until_that_is_undone(store):
    names = ("Jay", "Wren", "Jay", None)
    visits = [store.save(make_visit(hour, name)) for hour, name in enumerate(names)]
    assert relabel_visits(store, "Jay", "Blue Jay") == 2
    assert [visit.label for visit in store.find()] == ["Blue Jay", "Wren", "Blue Jay", None]
    assert relabel_visits(store, "Owl", "Barn Owl") == 0
    assert undo_change(store).visits == (1, 3)
    assert store.find() == visits


def fail(*arguments):
    raise OSError("no space")


def test_a_calibrated_gallery_is_calibrated_anew(store, birds, gallery, drawn, monkeypatch):
    visit = store.save(show_specimens(drawn[STRANGER][:3], label="Jay"))
    before = hmdrn.calibrate_threshold(birds, 0.1).to_dict()
    birds.save_gallery(gallery)
    correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    stored = hmdrn.load("default", gallery, threads=1)
    assert stored.gallery.calibration != before
    assert stored.gallery.calibration == hmdrn.calibrate_threshold(stored, 0.1).to_dict()
    with monkeypatch.context() as full_disk:
        full_disk.setattr("hmdrn_runtime.gallery.file._write", fail)
        with pytest.raises(OSError, match="no space"):
            correct_visits(store, [visit.id], "Wren", birds, gallery)
    assert birds.gallery.calibration == stored.gallery.calibration
    undo_change(store, birds, gallery)
    assert hmdrn.load_gallery(gallery).calibration == before


def test_not_a_subject_needs_no_gallery_unless_one_was_taught(store, birds, gallery, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:2], label="Jay"))
    (corrected,) = correct_visits(store, [visit.id], None).visits
    assert (corrected.label, corrected.known, corrected.naming.text) == (None, None, "not a subject")
    correct_visits(store, [visit.id], "Wren", birds, gallery)
    with pytest.raises(HmdrnError, match="give the gallery"):
        correct_visits(store, [visit.id], None)
    assert store.get(visit.id).label == "Wren"
    with pytest.raises(HmdrnError, match=r"site\.gallery"):
        undo_change(store)


def test_several_visits_are_corrected_as_one_change(store, birds, gallery, drawn):
    ids = [store.save(show_specimens(drawn[STRANGER][n : n + 1])).id for n in range(3)]
    correct_visits(store, ids, "Blackcap", birds, gallery)
    assert birds.gallery.species["Blackcap"].shots == 3
    assert [change.visits for change in list_changes(store)] == [tuple(ids)]


def test_a_correction_that_fails_changes_nothing(store, birds, tmp_path, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:2], label="Jay"))
    before = digests(birds)
    for label, path in (("", tmp_path / "a.gallery"), ("Blackcap", tmp_path / "missing" / "a.gallery")):
        with pytest.raises(HmdrnError):
            correct_visits(store, [visit.id], label, birds, path)
    with pytest.raises(HmdrnError, match="no visit 99"):
        correct_visits(store, [visit.id, 99], "Blackcap", birds)
    assert store.get(visit.id) == visit
    assert digests(birds) == before
    assert list_changes(store) == []


def test_a_correction_that_is_given_up_changes_nothing(store, birds, drawn):
    ids = [store.save(show_specimens(drawn[STRANGER][n : n + 1])).id for n in range(2)]
    before, steps = digests(birds), []

    def give_up(*progress):
        steps.append(progress)
        if progress[0] == "enrolling":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        correct_visits(store, ids, "Blackcap", birds, report=give_up)
    assert steps == [("reading pictures", 0, 2), ("reading pictures", 1, 2), ("enrolling", 0, 0)]
    assert (digests(birds), list_changes(store)) == (before, [])


def test_pictures_of_a_visit_are_one_burst_and_get_verdicts(store, birds, drawn):
    visit = store.save(show_specimens(drawn[STRANGER][:2], label="Jay"))
    correction = correct_visits(store, [visit.id], "Blackcap", birds)
    photos = birds.gallery.species["Blackcap"].photos
    assert {photo.record.taken for photo in photos.values()} == {f"{visit.start:%Y-%m-%dT%H:%M:%SZ}"}
    assert sorted(photo.record.name for photo in photos.values()) == ["visit-1-1.jpg", "visit-1-2.jpg"]
    assert {photo.digest for photo in correction.enrollment.photos} == set(photos)


def test_a_visit_without_pictures_gets_its_name_and_teaches_nothing(store, birds, gallery):
    visit = store.save(make_visit(pictures=0))
    correction = correct_visits(store, [visit.id], "Blackcap", birds, gallery)
    assert (correction.enrolled, correction.visits[0].label) == (0, "Blackcap")
    assert correction.enrollment is None
    assert "Blackcap" not in birds.gallery


def test_a_visit_that_is_corrected_while_visits_are_renamed_keeps_that_name(store, birds, drawn):
    visits = [store.save(show_specimens(drawn[0][n : n + 1], label="Wren")) for n in range(2)]

    def correct(*progress):
        if store.get(visits[0].id).naming.verdict is None:
            correct_visits(store, [visits[0].id], None)

    assert [new.id for _, new in rename_visits(store, birds, report=correct)] == [visits[1].id]
    assert [store.get(visit.id).naming.text for visit in visits] == ["not a subject", "Jay"]


def test_a_visit_that_goes_on_keeps_its_correction(store, drawn):
    visit = store.save(show_specimens(drawn[0][:1], label="Jay", closed=False))
    correct_visits(store, [visit.id], None)
    longer = show_specimens(drawn[0][:1], label="Jay", id=visit.id, duration=90.0)
    assert store.save(longer).naming.verdict == "not-a-subject"
    assert store.get(visit.id).duration == 90.0


def test_earlier_visits_are_named_anew_and_corrected_ones_stay(store, birds, gallery, drawn):
    ids = [store.save(show_specimens(drawn[STRANGER][n : n + 2], n, "Jay")).id for n in (0, 2)]
    right = store.save(show_specimens(drawn[0][3:5], 5, "Jay"))
    wrong = store.save(show_specimens(drawn[0][3:5], 6, "Jay"))
    correct_visits(store, [wrong.id], None)
    correct_visits(store, ids[:1], "Blackcap", birds, gallery)
    pairs = rename_visits(store, birds)
    assert [(old.label, new.id, new.label) for old, new in pairs] == [("Jay", ids[1], "Blackcap")]
    assert (store.get(right.id).label, store.get(wrong.id).label) == ("Jay", None)
    assert rename_visits(store, birds) == []
    undo_change(store)
    assert store.get(ids[1]).label == "Jay"
    assert rename_visits(store, birds, VisitFilter(ids=[right.id])) == []


def test_nameless_species_are_numbered(birds, drawn):
    assert choose_new_label(birds) == "New species 1"
    birds.enroll("New species 1", drawn[STRANGER][0])
    assert choose_new_label(birds) == "New species 2"
