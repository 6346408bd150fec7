"""`hmdrn visits`: what it prints and writes, and corrections through the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image
from visit_examples import make_clip, make_visit, show_specimens

import hmdrn as sdk
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.datasets.dataset import open_species
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture
def diary(tmp_path):
    path = tmp_path / "site.visits"
    with VisitStore(path, create=True) as store:
        store.save(make_visit(0))
        store.save(make_visit(1, "Wren", source="garden", pictures=3))
        store.save(make_visit(26, None))
        store.save(make_visit(50, "=Jay", pictures=0))
    return path


def test_visits_are_listed_as_json_with_their_pictures(hmdrn, diary):
    done = hmdrn("visits", "list", diary, "--json")
    values = json.loads(done.out)
    assert values["schema"] == "hmdrn.visits.list/1"
    assert [visit["id"] for visit in values["visits"]] == [1, 2, 3, 4]
    first = values["visits"][0]
    assert {"id", "start", "end", "label", "known", "source", "pictures"} <= set(first)
    assert (first["start"], first["end"]) == ("2026-05-01T08:30:00.000Z", "2026-05-01T08:30:04.000Z")
    assert first["clip"] is None
    assert [set(p) for p in first["pictures"]] == [{"id", "reasons", "time", "width", "height", "box"}] * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--unknown",), [3]),
        (("--known", "--limit", "2"), [2, 4]),
        (("--species", "Jay", "--species", "Wren"), [1, 2]),
        (("--since", "2026-05-02T00:00:00Z", "--until", "2026-05-03T00:00:00Z"), [3]),
        (("--source", "gard"), [2]),
    ],
)
def test_options_choose_visits(hmdrn, diary, options, expected):
    done = hmdrn("visits", "list", diary, "--json", *options)
    assert [visit["id"] for visit in json.loads(done.out)["visits"]] == expected


def test_the_table_names_species_evidence_and_strangers(hmdrn, diary):
    out = hmdrn("visits", "list", diary).out
    assert "4 visits in" in out
    assert "90 %" in out
    assert "most like Jay" in out
    assert "unknown" in out


def test_a_misspelled_species_is_answered_with_those_of_the_diary(hmdrn, diary):
    done = hmdrn("visits", "list", diary, "--species", "wren", "--json")
    assert (done.code, json.loads(done.out)["visits"]) == (0, [])
    assert "no such visits of wren: the diary has =Jay, Jay, Wren" in done.err


def test_a_visit_is_shown_and_its_pictures_written(hmdrn, diary, tmp_path):
    done = hmdrn("visits", "show", diary, "2", "--pictures", tmp_path / "seen")
    assert done.code == 0
    assert "garden" in done.out
    files = sorted((tmp_path / "seen").iterdir())
    assert [path.name for path in files] == ["2-1.jpg", "2-2.jpg", "2-3.jpg"]
    assert Image.open(files[0]).size == (64, 64)
    assert "no visit 9" in hmdrn("visits", "show", diary, "9").err


def test_visits_are_exported_as_csv_json_and_folders(hmdrn, diary, tmp_path):
    rows = list(csv.DictReader(io.StringIO(hmdrn("visits", "export", diary).out)))
    assert [row["label"] for row in rows] == ["Jay", "Wren", "", "'=Jay"]
    assert [row["pictures"] for row in rows] == ["2", "3", "2", "0"]
    output, seen = tmp_path / "a.json", tmp_path / "seen"
    assert hmdrn("visits", "export", diary, "-o", output, "--pictures", seen).code == 0
    assert len(json.loads(output.read_text())["visits"]) == 4
    shutil.rmtree(seen / "unknown")
    assert {label: len(photos) for label, photos in open_species(seen).classes.items()} == {
        "Jay": 2,
        "Wren": 3,
    }
    refused = hmdrn("visits", "export", diary, "-o", diary)
    assert refused.code == 2
    assert "would replace an input" in refused.err


def test_clips_and_pictures_are_written_for_their_user_alone(hmdrn, diary, tmp_path):
    with VisitStore(diary) as store:
        store.save_clip(2, make_clip(webm=b"film of a wren"))
        store.save_clip(3, make_clip(webm=b"film of a stranger"))
    done = hmdrn("visits", "show", diary, "2", "--clip", tmp_path / "wren.webm", "--json")
    values = json.loads(done.out)
    assert values["files"] == [str(tmp_path / "wren.webm")]
    assert values["visit"]["clip"] == {
        "start": "2026-05-01T08:30:00.000Z",
        "duration": 9.5,
        "width": 64,
        "height": 36,
    }
    assert "64x36, 9.5 s" in hmdrn("visits", "show", diary, "2").out
    done = hmdrn("visits", "export", diary, "--clips", tmp_path / "clips")
    assert [row["clip"] for row in csv.DictReader(io.StringIO(done.out))] == ["0", "1", "1", "0"]
    assert "wrote 2 clips" in done.err
    files = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.webm")}
    assert {name: path.read_bytes() for name, path in files.items()} == {
        "wren.webm": b"film of a wren",
        "clips/Wren/2.webm": b"film of a wren",
        "clips/unknown/3.webm": b"film of a stranger",
    }
    hmdrn("visits", "show", diary, "2", "--pictures", tmp_path / "wren")
    hmdrn("visits", "export", diary, "--pictures", tmp_path / "pictures")
    pictures = sorted(tmp_path.rglob("*.jpg"))
    assert len(pictures) == 3 + 7
    assert {path.stat().st_mode & 0o777 for path in [*files.values(), *pictures]} == {0o600}


@pytest.mark.parametrize(
    ("number", "name", "words"),
    [("1", "a.webm", "no clip of visit 1"), ("2", "a.mp4", "ends with .webm")],
)
def test_a_clip_that_cannot_be_written_is_said(hmdrn, diary, tmp_path, number, name, words):
    done = hmdrn("visits", "show", diary, number, "--clip", tmp_path / name)
    assert (done.code, words in done.err) == (2, True), done


def test_a_sheet_and_a_chart_are_drawn(hmdrn, diary, tmp_path):
    assert hmdrn("visits", "sheet", diary, "-o", tmp_path / "sheet.png").code == 0
    assert Image.open(tmp_path / "sheet.png").width > 500
    done = hmdrn("visits", "stats", diary, "-o", tmp_path / "chart.png")
    assert done.code == 0, done
    assert Image.open(tmp_path / "chart.png").width > 800
    nothing = hmdrn("visits", "sheet", diary, "-o", tmp_path / "b.png", "--species", "Owl")
    assert (nothing.code, "no visits" in nothing.err) == (2, True)


def test_statistics_count_the_visits(hmdrn, diary):
    values = json.loads(hmdrn("visits", "stats", diary, "--json").out)
    assert values["schema"] == "hmdrn.visits.stats/1"
    assert [(s["text"], s["visits"]) for s in values["species"]] == [
        ("=Jay", 1),
        ("Jay", 1),
        ("Wren", 1),
        ("unknown", 1),
    ]


@pytest.fixture
def strangers(tmp_path):
    """A gallery of two drawn species, and visits of a third one."""
    drawn = draw_specimens((9, 22, 4), 6, size=128)
    birds = sdk.load("default", threads=1)
    for label, photos in zip(("Jay", "Wren"), drawn[:2], strict=True):
        birds.enroll(label, list(photos[:3]))
    birds.save_gallery(tmp_path / "site.gallery")
    with VisitStore(tmp_path / "site.visits", create=True) as store:
        for n in (0, 2):
            store.save(show_specimens(drawn[2][n : n + 2], n))
        store.save(replace(show_specimens(drawn[2][4:], 4), naming=make_visit().naming))
    return tmp_path / "site.visits", tmp_path / "site.gallery"


def labels(diary):
    with VisitStore(diary) as store:
        return [visit.label for visit in store.find()]


def test_a_stranger_is_named_once_and_earlier_visits_follow(hmdrn, strangers):
    diary, gallery = strangers
    (group,) = json.loads(hmdrn("visits", "inbox", diary, "-g", gallery, "--json").out)["groups"]
    ids = sorted(visit["id"] for visit in group["visits"])
    assert ids == [1, 2]
    assert f"hmdrn visits correct {diary}" in hmdrn("visits", "inbox", diary, "-g", gallery).out
    done = hmdrn("visits", "correct", diary, *ids, "--is", "Blackcap", "--gallery", gallery)
    assert "2 visits: Blackcap, which is new to the gallery; 4 pictures enrolled" in done.out
    assert "no unknown visits" in hmdrn("visits", "inbox", diary, "-g", gallery).out
    renamed = json.loads(hmdrn("visits", "rename", diary, "-g", gallery, "--json").out)
    assert renamed["changed"] == [{"id": 3, "before": "Jay", "label": "Blackcap"}]
    assert labels(diary) == ["Blackcap"] * 3
    assert json.loads(hmdrn("visits", "undo", diary, "--json").out)["kind"] == "rename"
    assert "4 pictures removed from" in hmdrn("visits", "undo", diary).out
    assert labels(diary) == [None, None, "Jay"]
    assert sorted(sdk.load_gallery(gallery)) == ["Jay", "Wren"]


def test_a_mistyped_species_is_taken_back_with_one_command(hmdrn, strangers):
    diary, gallery = strangers
    done = hmdrn("visits", "correct", diary, "1", "--is", "Jey", "-g", gallery)
    assert "did you mean Jay?" in done.err
    assert hmdrn("visits", "undo", diary).code == 0
    assert sorted(sdk.load_gallery(gallery)) == ["Jay", "Wren"]


def test_nameless_and_empty_visits_are_corrected(hmdrn, strangers):
    diary, gallery = strangers
    values = json.loads(hmdrn("visits", "correct", diary, "1", "--new", "-g", gallery, "--json").out)
    assert (values["label"], values["new"], values["enrolled"]) == ("New species 1", True, 2)
    assert "not a subject" in hmdrn("visits", "correct", diary, "2", "--not-a-subject").out
    with VisitStore(diary) as store:
        bare = store.save(make_visit(50, pictures=0))
    done = hmdrn("visits", "correct", diary, bare.id, "--is", "Blackcap", "-g", gallery)
    assert "1 visit: Blackcap; no pictures, so the gallery learns nothing" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1",), "give one of --is SPECIES, --new and --not-a-subject"),
        (("1", "--new", "--not-a-subject"), "give one of"),
        (("1", "--is", "Jay"), "give the --gallery"),
        (("99", "--not-a-subject"), "no visit 99"),
    ],
)
def test_unclear_corrections_are_refused(hmdrn, diary, arguments, words):
    done = hmdrn("visits", "correct", diary, *arguments)
    assert (done.code, words in done.err) == (2, True), done


def test_watching_writes_the_diary(hmdrn, tmp_path):
    birds = sdk.load("default", threads=1)
    drawn = draw_specimens((9, 22), 3, size=128)
    for label, photos in zip(("Jay", "Wren"), drawn, strict=True):
        birds.enroll(label, list(photos))
    birds.save_gallery(tmp_path / "a.gallery")
    (tmp_path / "card").mkdir()
    for n, photo in enumerate((drawn[0][0], drawn[0][1], drawn[1][0])):
        exif = Image.Exif()
        exif[306] = f"2026:05:01 08:30:{(0, 2, 50)[n]:02d}"
        Image.fromarray(photo).save(tmp_path / "card" / f"{n}.jpg", exif=exif, quality=95)
    diary = tmp_path / "a.visits"
    options = ("--source", tmp_path / "card", "--gallery", tmp_path / "a.gallery", "--visits", diary)
    assert hmdrn("watch", "default", *options).code == 0
    with VisitStore(diary) as store:
        visits = store.find()
    assert [(visit.label, visit.frames, visit.duration) for visit in visits] == [
        ("Jay", 2, 2.0),
        ("Wren", 1, 0.0),
    ]
    assert visits[0].source == str(tmp_path / "card")
    refused = hmdrn("watch", "default", *options[:-1], tmp_path / "a.gallery")
    assert (refused.code, "would replace an input" in refused.err) == (2, True)
