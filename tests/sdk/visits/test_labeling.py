"""A trail camera's card: bursts by EXIF times, no repeat after a kill, copies by species."""

from __future__ import annotations

import json
import os
import sys
from datetime import timezone

import numpy as np
import pytest
from card_photos import DAY, write_photo
from PIL import Image

import hmdrn
from hmdrn.visits.bursts import split_bursts
from hmdrn.visits.card import CardPhoto
from hmdrn.visits.card_decoding import PhotoDecoder, find_divisor
from hmdrn.visits.card_files import list_files, sort_files
from hmdrn.visits.folders import name_folder
from hmdrn.visits.labeling import label_card
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.specimens.drawing import draw_specimens


@pytest.fixture
def card(tmp_path, drawn):
    """Three photos of a jay, two of a wren half a minute later, one photo without a time, one broken."""
    folder = tmp_path / "card"
    for number, seconds in enumerate((0, 1, 9)):
        write_photo(folder / "100" / f"IMG_{number}.JPG", drawn[0][number], seconds)
    for number, seconds in enumerate((39, 40)):
        write_photo(folder / "101" / f"IMG_{number}.JPG", drawn[1][number], seconds)
    write_photo(folder / "plain.png", drawn[1][2])
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return folder


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


def test_bursts_become_visits_and_the_card_stays_as_it_was(store, birds, card):
    before = snapshot(card)
    report = label_card(store, birds, card)
    assert snapshot(card) == before
    assert (report.photos, report.labeled, report.seen, report.visits) == (7, 6, 0, 3)
    assert list(report.errors) == ["broken.jpg"]
    visits = store.find()
    seen = [(v.label, v.frames, v.duration) for v in visits]
    assert seen == [("Jay", 3, 9.0), ("Wren", 2, 1.0), ("Wren", 1, 0.0)]
    assert visits[0].start == DAY.astimezone(timezone.utc)
    assert {v.source for v in visits} == {str(card)}
    assert all(1 <= len(v.pictures) <= 2 for v in visits)


def test_a_second_run_labels_only_what_is_new(store, birds, card, drawn):
    label_card(store, birds, card)
    write_photo(card / "102" / "IMG_0.JPG", drawn[0][4], 3600)
    report = label_card(store, birds, card)
    assert (report.labeled, report.seen, report.visits) == (1, 6, 1)
    assert store.count() == 4
    (card / "102" / "IMG_0.JPG").touch()
    os.utime(card / "102" / "IMG_0.JPG", (1, 1))
    assert label_card(store, birds, card).labeled == 1


def test_an_interrupted_run_continues_without_a_repeat(store, birds, tmp_path, drawn):
    card = tmp_path / "card"
    for number in range(80):
        write_photo(card / f"{number:03d}.jpg", drawn[number % 2][number % 6], 100 * (number // 2))

    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_card(store, birds, card, report=interrupt)
    first = store.count()
    assert 0 < first < 40
    report = label_card(store, birds, card)
    assert (report.seen, store.count()) == (2 * first, 40)
    assert store.query("SELECT count(*), count(DISTINCT path) FROM files")[0][:] == (80, 80)


def test_large_photos_decoded_in_part_have_the_same_answer(store, birds, tmp_path, drawn):
    large = Image.fromarray(drawn[0][0]).resize((2600, 2600), Image.Resampling.BICUBIC)
    (tmp_path / "card").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    large.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "card" / "a.jpg", exif=exif)
    label_card(store, birds, tmp_path / "card")
    (visit,) = store.find()
    expected = birds.classify(tmp_path / "card" / "a.jpg")
    assert visit.label == expected.label == "Jay"
    assert visit.naming.probability == pytest.approx(expected.probability, abs=0.02)
    assert (visit.pictures[0].width, visit.pictures[0].height) == (640, 640)


@pytest.mark.parametrize(
    ("size", "divisor"),
    [
        ((1920, 1080), 2),
        ((2592, 1944), 4),
        ((4000, 3000), 8),
        ((1280, 720), 2),
        ((720, 1280), 2),
        ((958, 720), 1),  # the picture that is kept would be smaller
        ((1280, 558), 1),  # so would the network's input
        ((1921, 1080), 1),  # half a pixel off
        ((9600, 9600), 1),  # too large to be read at all
    ],
)
def test_photos_are_decoded_in_part_as_far_as_nothing_is_lost(size, divisor):
    assert find_divisor(*size, resize=140) == divisor


@pytest.mark.parametrize("size", [(1280, 720), (1296, 1944), (4000, 3000), (1921, 1080)])
def test_the_input_of_photos_decoded_in_part_is_as_of_the_whole(birds, tmp_path, size):
    (drawn,), path = draw_specimens([9], 1, size=512)[0], tmp_path / "a.jpg"
    Image.fromarray(drawn).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    (subject,) = PhotoDecoder(birds.preprocessing).decode(CardPhoto(path, "a.jpg", 0, 0, DAY, False)).subjects
    whole = prepare(path, birds.preprocessing)
    assert np.abs(subject.pixels.astype(float) - whole).mean() < 0.6  # of 255; the promise is 1
    divisor = find_divisor(*size, birds.preprocessing.resize)
    assert max(subject.image.size) == min(640, max(size) // divisor)


def test_photos_are_sorted_by_species_and_left_where_a_person_put_them(store, birds, card, tmp_path):
    label_card(store, birds, card)
    files, target = list(list_files(store, card)), tmp_path / "sorted"
    assert sort_files(files, card, target) == 6
    names = sorted(str(path.relative_to(target)) for path in target.rglob("*.*"))
    assert names == [
        *(f"Jay/100-IMG_{n}.JPG" for n in range(3)),
        *(f"Wren/101-IMG_{n}.JPG" for n in range(2)),
        "Wren/plain.png",
    ]
    copy = target / "Jay" / "100-IMG_0.JPG"
    assert copy.read_bytes() == (card / "100" / "IMG_0.JPG").read_bytes()
    assert copy.stat().st_mtime == (card / "100" / "IMG_0.JPG").stat().st_mtime
    (target / "Owl").mkdir()
    copy.rename(target / "Owl" / copy.name)
    sort_files(files, card, target)
    assert not copy.exists()


def test_links_lead_to_the_card(store, birds, card, tmp_path):
    label_card(store, birds, card)
    for _ in range(2):
        sort_files(list(list_files(store, card)), card, tmp_path / "sorted", link=True)
    link = tmp_path / "sorted" / "Jay" / "100-IMG_0.JPG"
    assert link.is_symlink()
    assert link.resolve() == (card / "100" / "IMG_0.JPG").resolve()


def test_files_are_listed_with_the_present_name_of_their_visit(store, birds, card):
    label_card(store, birds, card)
    hmdrn.correct_visits(store, [1], None)
    rows = {file.path: file.species for file in list_files(store, card)}
    assert rows["100/IMG_0.JPG"] == "not a subject"
    assert rows["broken.jpg"] == ""
    (card / "101" / "IMG_0.JPG").unlink()
    assert "101/IMG_0.JPG" not in {file.path for file in list_files(store, card)}


def test_species_become_folders_on_every_file_system():
    assert name_folder("A/B: C?") == "A_B_ C_"
    assert name_folder("..") == "_"
    assert name_folder("Con") == "_Con"
    assert name_folder("Größte Möwe.") == "Größte Möwe"


def test_what_is_no_card_is_refused(store, birds, tmp_path):
    with pytest.raises(HmdrnError, match="is not a folder"):
        label_card(store, birds, tmp_path / "missing")
    with pytest.raises(HmdrnError, match="gap is -1"):
        label_card(store, birds, tmp_path, gap=-1)
    assert list(split_bursts([], 10)) == []


def test_the_command_labels_lists_and_sorts(hmdrn, birds, card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    birds.save_gallery(tmp_path / "a.gallery")
    options = ("--gallery", tmp_path / "a.gallery", "--csv", "card.csv", "--sort-into", "sorted")
    done = hmdrn("label", card, *options)
    assert done.code == 2
    assert "broken.jpg" in done.err
    assert "6 photos of" in done.out
    lines = (tmp_path / "card.csv").read_text().splitlines()
    assert lines[0].startswith("file,time,visit,species,known,probability")
    assert len(lines) == 8
    again = json.loads(hmdrn("label", card, *options, "--json").out)
    assert (again["labeled"], again["seen"], again["visits"]) == (0, 6, 0)
    assert again["species"] == [
        {"text": "Jay", "visits": 1, "photos": 3},
        {"text": "Wren", "visits": 2, "photos": 3},
    ]
    assert (tmp_path / "card.visits").exists()
    for option in ("--csv", "--visits", "--sort-into"):
        refused = hmdrn("label", card, "-g", tmp_path / "a.gallery", option, card / "new")
        assert (refused.code, "it is on the card" in refused.err) == (2, True), refused


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_that_are_not_utf8_are_labeled_known_again_and_sorted(birds, tmp_path, drawn):
    card, name = tmp_path / os.fsdecode(b"card-\xe9"), os.fsdecode(b"caf\xe9.png")
    write_photo(card / name, drawn[0][0])
    with VisitStore(card.with_suffix(".visits"), create=True) as store:
        assert label_card(store, birds, card).labeled == 1
        assert label_card(store, birds, card).seen == 1
        assert [visit.source for visit in store.find()] == [f"{tmp_path}/card-\\udce9"]
        files = list(list_files(store, card))
    assert [file.row[0] for file in files] == [name]
    assert sort_files(files, card, tmp_path / "sorted") == 1
    assert (tmp_path / "sorted" / "Jay" / name).is_file()
