from __future__ import annotations

import re
import shutil

import pytest

import hmdrn
from hmdrn.open_set import evaluate_acceptance
from hmdrn_runtime.specimens.traits import name_species

FIRST, SECOND = name_species(0), name_species(1)


def labels(path) -> set[str]:
    return set(hmdrn.load_gallery(path).species)


def test_species_are_shown_with_what_to_expect(studio):
    text = studio.get("/gallery")
    assert all(name_species(s) in text for s in range(3))
    assert "3 species, 9 photos" in text
    assert "expected right:" in text


def test_renaming_is_in_the_file_and_can_be_undone(studio, gallery):
    studio.post("/gallery/rename", label=FIRST, new="Blue Morpho")
    assert labels(gallery) == {"Blue Morpho", SECOND, name_species(2)}
    assert "Undone" in studio.post("/gallery/undo")
    assert labels(gallery) == {FIRST, SECOND, name_species(2)}


def test_joining_and_undoing_restores_both_species(studio, gallery):
    before = hmdrn.load_gallery(gallery).species
    studio.post("/gallery/rename", label=FIRST, new=SECOND, join="yes")
    assert hmdrn.load_gallery(gallery).species[SECOND].shots == 6
    studio.post("/gallery/undo")
    after = hmdrn.load_gallery(gallery).species
    assert {s: after[s].digests for s in after} == {s: before[s].digests for s in before}


def test_a_name_in_use_is_refused_with_advice(studio):
    text = studio.post("/gallery/rename", label=FIRST, new=f"{SECOND} ")
    assert f"There is a species {SECOND} already: choose another name, or tick that the two join." in text
    assert "Join with a species of that name" in text


def test_one_photo_is_forgotten_from_the_species_page(studio, gallery):
    digest = min(hmdrn.load_gallery(gallery).species[FIRST].photos)
    studio.post("/gallery/forget", label=FIRST, photo=digest)
    assert digest not in hmdrn.load_gallery(gallery).species[FIRST].digests
    assert "2 photos" in studio.get("/species", label=FIRST)


def test_photos_of_a_species_show_their_evidence(studio):
    before = re.findall(r"evidence ([+-][\d.]+)", studio.get("/species", label=FIRST))
    assert len(before) == 3
    stranger = next(iter(studio.session.gallery.species[SECOND].photos.values()))
    studio.session.gallery.add(FIRST, [stranger])
    assert f"more like {SECOND}" in studio.get("/species", label=FIRST)


def test_an_enrolled_photo_is_explained_beside_those_that_weigh_most(studio):
    digest = min(studio.session.gallery.species[FIRST].photos)
    text = studio.get("/why", label=FIRST, photo=digest)
    assert f"The photos of {FIRST} that weigh most" in text
    assert "This is the photo itself." in text
    assert re.search(r"odds (over )?[\d.]+ times higher", text)


def test_undo_keeps_what_others_changed_since(studio, gallery):
    studio.post("/gallery/forget", label=FIRST)
    with hmdrn.edit_gallery(gallery) as other:
        other.rename(SECOND, "Renamed elsewhere")
    studio.post("/gallery/undo")
    assert {FIRST, "Renamed elsewhere"} <= labels(gallery)
    assert SECOND not in labels(gallery)


def test_undo_keeps_what_others_changed_just_before(studio, gallery):
    with hmdrn.edit_gallery(gallery) as other:
        other.rename(SECOND, "Renamed elsewhere")
    studio.post("/gallery/forget", label=FIRST)
    assert labels(gallery) == {"Renamed elsewhere", name_species(2)}
    studio.post("/gallery/undo")
    assert labels(gallery) == {FIRST, "Renamed elsewhere", name_species(2)}


def test_a_failed_write_loses_nothing_that_others_changed_meanwhile(studio, gallery, monkeypatch):
    recognizer = studio.session.recognizer
    recognizer.follow_gallery(gallery)

    def change_elsewhere_and_fail(*arguments):
        with hmdrn.edit_gallery(gallery) as other:
            other.rename(SECOND, "Renamed elsewhere")
        recognizer.solved_gallery._follower._next = 0.0
        assert "Renamed elsewhere" in recognizer.gallery
        raise hmdrn.GalleryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(recognizer, "save_gallery", change_elsewhere_and_fail)
        assert "the disk is full" in studio.post("/gallery/forget", label=FIRST)
    studio.post("/gallery/rename", label=FIRST, new="Blue Morpho")
    assert labels(gallery) == {"Blue Morpho", "Renamed elsewhere", name_species(2)}


def test_a_species_is_forgotten_and_the_history_says_so(studio, gallery):
    text = studio.post("/gallery/forget", label=FIRST)
    assert f"{FIRST} is forgotten." in text
    assert labels(gallery) == {SECOND, name_species(2)}
    studio.post("/gallery/rename", label=SECOND, new="Blue Morpho")
    rows = re.findall(r"<td>([^<]*)</td><td>([^<]*)</td></tr>", studio.get("/gallery"))
    assert rows[:2] == [(f"renamed from '{SECOND}'", "Blue Morpho"), ("forgot", FIRST)]


def test_a_merged_gallery_keeps_the_rate_and_undoes(studio, gallery, tmp_path):
    other = tmp_path / "other.gallery"
    shutil.copy(gallery, other)
    with hmdrn.edit_gallery(other) as changed:
        changed.rename(FIRST, "From elsewhere")
    studio.post("/gallery/rate", rate="0.1")
    calibration = studio.session.gallery.calibration
    studio.session.gallery.calibrate({**calibration, "unknown": [0.5] * 10})
    upload = ("gallery", ("../../etc/other.gallery", other.read_bytes(), "application/octet-stream"))
    text = studio.post("/gallery/merge", files=[upload])
    assert "1 new species" in text
    assert "From elsewhere" in labels(gallery)
    assert studio.session.rate == pytest.approx(0.1)
    assert studio.session.gallery.calibration["unknown"] == [0.5] * 10
    studio.post("/gallery/undo")
    assert "From elsewhere" not in labels(gallery)
    assert studio.session.rate == pytest.approx(0.1)


def test_a_file_that_is_not_a_gallery_changes_nothing(studio, gallery):
    before = gallery.read_bytes()
    text = studio.post("/gallery/merge", files=[("gallery", ("notes.txt", b"hello", "text/plain"))])
    assert "notes.txt" in text
    assert "hmdrn-studio-" not in text
    assert gallery.read_bytes() == before


def test_the_rate_shows_its_cost_before_it_is_set(studio, gallery):
    cost = studio.client.get("/gallery/rate-cost", params={"rate": "0.1"}).json()["cost"]
    assert "Of your own photos" in cost
    assert hmdrn.load_gallery(gallery).calibration is None
    studio.post("/gallery/rate", rate="0.1")
    assert hmdrn.load_gallery(gallery).calibration["far"] == pytest.approx(0.1)
    report = evaluate_acceptance(studio.session.recognizer)
    assert f"{sum(report.known.values())} of {sum(report.judged.values())}" in cost
    studio.post("/gallery/rate", drop="yes")
    assert hmdrn.load_gallery(gallery).calibration is None


def test_photos_of_unknown_species_count_in_the_cost_of_a_rate(studio):
    studio.post("/gallery/rate", rate="0.1")
    before = studio.session.preview_rate(0.1)
    stored = studio.session.gallery.calibration
    studio.session.gallery.calibrate({**stored, "unknown": [-50.0] * 10})
    after = studio.session.preview_rate(0.1)
    assert before.known != before.judged
    assert after.known == after.judged, "all own photos score higher than these unknown ones"


def test_the_download_is_the_file(studio, gallery):
    assert studio.client.get("/gallery/download").content == gallery.read_bytes()


@pytest.mark.parametrize(
    "path", ["/static/../session.py", "/static/%2e%2e/session.py", "/thumbnail?photo=../x"]
)
def test_no_path_of_the_device_is_reached(studio, path):
    answer = studio.client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_a_script_in_a_label_is_shown_as_text(studio):
    script = "<script>alert(1)</script>"
    studio.post("/gallery/rename", label=FIRST, new=script)
    for path in ("/gallery", "/enroll"):
        assert script not in studio.client.get(path).text
    assert "&lt;script&gt;" in studio.client.get("/species", params={"label": script}).text


def test_a_message_cannot_come_from_a_link(studio):
    assert "pay here" not in studio.get("/gallery", notice="pay here")


def test_a_change_while_a_page_is_made_makes_it_stale(studio, monkeypatch):
    forecast = studio.session.forecast

    def change_and_forecast():
        monkeypatch.undo()
        studio.session.rename(FIRST, "Renamed meanwhile", join=False)
        return forecast()

    monkeypatch.setattr(studio.session, "forecast", change_and_forecast)
    page = studio.client.get("/gallery", headers={"accept": "text/html"}).text
    assert re.search('data-version="([^"]*)"', page).group(1) != studio.get("/version")
    page = studio.client.get("/gallery", headers={"accept": "text/html"}).text
    assert re.search('data-version="([^"]*)"', page).group(1) == studio.get("/version")


def test_changes_of_other_commands_change_the_version(studio, gallery):
    studio.session.recognizer.follow_gallery(gallery)
    before = studio.get("/version")
    studio.post("/gallery/rename", label=FIRST, new="Other")
    assert studio.get("/version") != before
