"""`hmdrn gallery`, on the package's own model and drawn specimens."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from PIL import Image

import hmdrn as package
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.gallery.file import load_gallery, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.migration import find_variant_mismatch


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory, specimens):
    """Galleries of two devices: four species with thumbnails; one of them with other photos, without."""
    folder = tmp_path_factory.mktemp("galleries")
    first, *_ = labels = sorted(p.name for p in specimens.iterdir())
    photos = {label: sorted((specimens / label).iterdir()) for label in labels}
    one = package.load("default", threads=1, keep_thumbnails=True, variant="fp32")
    for label in labels:
        one.enroll(label, photos[label][:2])
    one.save_gallery(folder / "site7")
    two = package.load("default", threads=1, variant="fp32")
    two.enroll(first, photos[first][1:4])
    two.save_gallery(folder / "site8")
    return folder, labels


@pytest.fixture
def site7(enrolled, tmp_path):
    return shutil.copy(enrolled[0] / "site7", tmp_path / "site7")


@pytest.fixture
def site8(enrolled, tmp_path):
    return shutil.copy(enrolled[0] / "site8", tmp_path / "site8")


@pytest.fixture
def first(enrolled):
    return enrolled[1][0]


@pytest.fixture(autouse=True)
def _without_int8(monkeypatch):
    monkeypatch.setattr("hmdrn_runtime.bundle.variants.has_fast_int8_products", lambda: False)


def test_list_and_show_print_species_and_photos(hmdrn, site7, enrolled, first):
    found = hmdrn("gallery", "list", site7, "--json").json
    assert [(s["label"], s["shots"]) for s in found["species"]] == [(label, 2) for label in enrolled[1]]
    photos = hmdrn("gallery", "show", site7, first, "--json").json["photos"]
    assert [(p["variant"], p["thumbnail"], p["compacted"]) for p in photos] == [("fp32", True, False)] * 2
    assert [p["name"] for p in photos] == ["0.png", "1.png"]
    assert all(p["taken"] is None and p["enrolled"].endswith("Z") and p["verdict"] for p in photos)
    shown = hmdrn("gallery", "show", site7, first).out
    assert photos[0]["digest"][:12] in shown
    assert "0.png" in shown
    assert first in hmdrn("gallery", "list", site7).out


def test_merge_reports_species_that_became_one(hmdrn, site7, site8, first):
    outcome = hmdrn("gallery", "merge", site7, site8, "--json")
    assert outcome.code == 0
    assert outcome.json["merged"] == [{"gallery": str(site8), "added": [], "extended": {first: 2}}]
    assert load_gallery(site7).species[first].shots == 4
    assert "nothing new" in hmdrn("gallery", "merge", site7, site8).out


def test_merge_gives_the_same_in_whatever_order_and_makes_the_gallery(hmdrn, site7, site8, first, tmp_path):
    for name, order in (("a", (site7, site8)), ("b", (site8, site7))):
        outcome = hmdrn("gallery", "merge", tmp_path / name, *order)
        assert outcome.code == 0
        assert "one species now" in " ".join(outcome.out.split())
    one, other = load_gallery(tmp_path / "a"), load_gallery(tmp_path / "b")
    assert one.species == other.species


def test_diff_shows_the_differences(hmdrn, site7, site8, first, enrolled):
    found = hmdrn("gallery", "diff", site7, site8, "--json").json
    assert (found["equal"], found["only_first"], found["only_second"]) == (False, enrolled[1][1:], [])
    (differing,) = found["differing"]
    assert (differing["label"], len(differing["only_first"]), len(differing["only_second"])) == (first, 1, 2)
    assert first in hmdrn("gallery", "diff", site7, site8).out
    assert "the same species with the same photos" in hmdrn("gallery", "diff", site7, site7).out


def test_forget_takes_a_species_or_one_photo(hmdrn, site7, first, enrolled):
    digest = hmdrn("gallery", "show", site7, first, "--json").json["photos"][0]["digest"]
    outcome = hmdrn("gallery", "forget", site7, first, "--photo", digest[:8], "--json")
    assert (outcome.json["forgotten"], outcome.json["shots"]) == (1, 1)
    assert hmdrn("gallery", "forget", site7, enrolled[1][1]).code == 0
    assert sorted(load_gallery(site7)) == [first, *enrolled[1][2:]]
    assert sorted(load_gallery(f"{site7}.previous")) == enrolled[1]


def test_a_photo_is_forgotten_by_name_and_an_ambiguous_name_is_one_line(hmdrn, site7, first):
    gallery = load_gallery(site7)
    gallery.add(first, [replace(p, digest="ab" * 32) for p in gallery.species[first].list_photos()[:1]])
    save_gallery(gallery, site7)
    refusal = hmdrn("gallery", "forget", site7, first, "--photo", "0.png")
    assert (refusal.code, refusal.out, refusal.err.count("\n")) == (2, "", 1)
    assert "2 photos of" in refusal.err
    assert "0.png (abababababab)" in refusal.err
    assert hmdrn("gallery", "forget", site7, first, "--photo", "1.png", "--json").json["shots"] == 2


def test_a_sheet_is_drawn_of_the_thumbnails(hmdrn, site7, site8, first, enrolled, tmp_path):
    outcome = hmdrn("gallery", "sheet", site7, "-o", tmp_path / "sheet.png", "--json")
    assert outcome.code == 0, outcome.err
    found = {key: outcome.json[key] for key in ("species", "photos", "drawn")}
    assert found == {"species": enrolled[1], "photos": 8, "drawn": 8}
    assert (tmp_path / "sheet.png").stat().st_size > 20_000
    assert "2 of 2 photos" in hmdrn("gallery", "sheet", site7, first, "-o", tmp_path / "one.jpg").out
    refusal = hmdrn("gallery", "sheet", site8, "-o", tmp_path / "none.png")
    assert (refusal.code, refusal.err.count("\n")) == (2, 1)
    assert "--keep-thumbnails" in refusal.err
    assert not (tmp_path / "none.png").exists()


def test_rename_joins_only_where_asked(hmdrn, site7, enrolled, first):
    second = enrolled[1][1]
    assert hmdrn("gallery", "rename", site7, first, "Jay", "--json").json["renamed_from"] == first
    refusal = hmdrn("gallery", "rename", site7, second, "Jay")
    assert (refusal.code, refusal.out) == (2, "")
    assert "--join" in refusal.err
    assert hmdrn("gallery", "rename", site7, second, "Jay", "--join", "--json").json["shots"] == 4
    alike = hmdrn("gallery", "rename", site7, enrolled[1][2], "JAY.")
    assert (
        alike.err == "hmdrn: warning: 'JAY.' and 'Jay' count as two species: use one name if they are one\n"
    )


def test_species_are_exported_to_a_new_gallery_and_imported_from_it(
    hmdrn, site7, site8, first, enrolled, tmp_path
):
    second = enrolled[1][1]
    assert hmdrn("gallery", "export", site7, tmp_path / "some", second).code == 0
    assert list(load_gallery(tmp_path / "some")) == [second]
    assert hmdrn("gallery", "import", site8, site7, second, "--json").json["merged"][0]["added"] == [second]
    assert sorted(load_gallery(site8)) == sorted([first, second])
    refusal = hmdrn("gallery", "export", site7, tmp_path / "none", "Dodo")
    assert refusal.code == 2
    assert "no species 'Dodo'" in refusal.err
    assert not (tmp_path / "none").exists()


def test_verify_says_that_a_gallery_is_whole_and_refuses_a_damaged_one(hmdrn, site7, first):
    found = hmdrn("gallery", "verify", site7, "--bundle", "default", "--json").json
    counts = {key: found[key] for key in ("species", "photos", "thumbnails", "previous", "move", "doubts")}
    assert counts == {
        "species": 4,
        "photos": 8,
        "thumbnails": 8,
        "previous": None,
        "move": None,
        "doubts": [],
    }
    assert hmdrn("gallery", "rename", site7, first, "Jay").code == 0
    assert "whole, generation 4" in hmdrn("gallery", "verify", site7).out
    data = bytearray(site7.read_bytes())
    data[-5] ^= 1
    site7.write_bytes(data)
    refusal = hmdrn("gallery", "verify", site7, "--json")
    assert (refusal.code, refusal.out) == (2, "")
    assert "is damaged: its SHA-256 does not match; the generation before it is in" in refusal.err


def test_a_gallery_is_refused_for_another_network(hmdrn, site7, exported):
    refusal = hmdrn("gallery", "verify", site7, "--bundle", exported("conv4", "ridge"))
    assert refusal.code == 2
    assert "was enrolled with other weights or preprocessing" in refusal.err


def test_compact_makes_the_file_smaller_and_answers_as_before(hmdrn, site7, specimens):
    image = next(specimens.rglob("*.png"))
    before = hmdrn("classify", "default", image, "--gallery", site7, "--json", "--threads", 1).json
    outcome = hmdrn("gallery", "compact", site7, "--json")
    assert outcome.json["photos"] == 8
    assert outcome.json["bytes"] < outcome.json["bytes_before"] / 2
    assert "no longer be forgotten" in outcome.json["lost"]
    after = hmdrn("classify", "default", image, "--gallery", site7, "--json", "--threads", 1).json
    assert after == before


def test_the_history_of_a_gallery_is_shown(hmdrn, site7, first):
    assert hmdrn("gallery", "rename", site7, first, "Jay").code == 0
    found = hmdrn("gallery", "history", site7, "--json").json
    assert [c["generation"] for c in found["history"]] == [1, 2, 3, 4, 5]
    assert (found["history"][-1]["what"], found["history"][-1]["label"]) == (f"renamed from {first!r}", "Jay")
    assert "renamed from" in " ".join(hmdrn("gallery", "history", site7).out.split())


def test_thumbnails_carry_a_gallery_to_another_model(hmdrn, site7, specimens, exported, tmp_path, enrolled):
    other = exported("conv4", "attention")
    outcome = hmdrn("gallery", "reenroll", site7, "--bundle", other, "--output", tmp_path / "new", "--json")
    assert outcome.code == 0, outcome.err
    assert {key: outcome.json[key] for key in ("species", "photos", "left_out")} == {
        "species": 4,
        "photos": 8,
        "left_out": 0,
    }
    old, new = load_gallery(site7), load_gallery(tmp_path / "new")
    for label in enrolled[1]:
        before, after = (gallery.species[label].list_photos() for gallery in (old, new))
        assert [p.record for p in after] == [p.record for p in before]
        assert [p.thumbnail for p in after] == [p.thumbnail for p in before]
    image = next(specimens.rglob("*.png"))
    assert package.load(other, gallery=tmp_path / "new", threads=1).classify(image).label in enrolled[1]
    refusal = hmdrn("gallery", "reenroll", site7, "--bundle", other, "--output", tmp_path / "new")
    assert "is there already" in refusal.err


def test_a_photo_carried_to_a_model_of_the_same_side_counts_once_with_its_file(
    hmdrn, site7, specimens, first, tmp_path
):
    target = tmp_path / "new"
    assert hmdrn("gallery", "reenroll", site7, "--bundle", "default", "--output", target).code == 0
    old = load_gallery(site7)
    again = package.load("default", target, threads=1)
    assert {label: s.digests for label, s in again.gallery.species.items()} == {
        label: s.digests for label, s in old.species.items()
    }
    image = specimens / first / "0.png"
    assert not again.enroll(first, image).added
    expected = package.load("default", site7, threads=1).classify(image)
    assert again.classify(image).label == expected.label
    assert again.classify(image).probability == pytest.approx(expected.probability, abs=0.05)


def test_photos_without_a_thumbnail_are_named_or_left_out(hmdrn, site7, site8, first, tmp_path):
    assert hmdrn("gallery", "merge", site7, site8).code == 0
    target = ("--bundle", "default", "--output", tmp_path / "new")
    refusal = hmdrn("gallery", "reenroll", site7, *target)
    assert refusal.code == 2
    assert f"2 photos of {first} have no thumbnail" in refusal.err
    assert "left out" in hmdrn("gallery", "reenroll", site7, *target, "--skip-missing").out
    assert load_gallery(tmp_path / "new").species[first].shots == 2
    nothing = hmdrn(
        *("gallery", "reenroll", site8, "--bundle", "default", "--skip-missing"), "-o", tmp_path / "x"
    )
    assert "no photo of the gallery has a thumbnail" in nothing.err


@pytest.mark.parametrize("known", [True, False])
def test_a_gallery_of_another_precision_is_used_and_its_cost_reported(hmdrn, site7, specimens, known):
    gallery = load_gallery(site7)
    half = {
        label: replace(s, photos={d: replace(p, variant="fp16") for d, p in s.photos.items()})
        for label, s in gallery.species.items()
    }
    moved = Gallery(gallery.network, half, 9)
    save_gallery(moved, site7)
    outcome = hmdrn("classify", "default", next(specimens.rglob("*.png")), "--gallery", site7)
    assert outcome.code == 0
    assert (
        "photos were enrolled 8 with 'fp16', and 'fp32' runs: the bundle has no comparison of" in outcome.err
    )
    bundle: Bundle = package.load("default", threads=1).bundle
    report = {"fp16": {"distance_error": 0.0123, "top1_agreement": 98.5}} if known else {}
    mismatch = find_variant_mismatch(
        moved, replace(bundle, manifest=replace(bundle.manifest, verification=report))
    )
    assert mismatch is not None
    assert dict(mismatch.photos) == {"fp16": 8}
    expected = (
        "differs from fp32 by 1.2 % in the distances and agrees on 98.5 %" if known else "no comparison of"
    )
    assert expected in str(mismatch)
    assert find_variant_mismatch(gallery, bundle) is None
    if not known:
        checked = hmdrn("gallery", "verify", site7, "--bundle", "default", "--json")
        move = {"variant": "fp32", "photos": {"fp16": 8}, "costs": {"fp16": None}, "far": None}
        assert checked.json["move"] == move


@pytest.mark.parametrize("verb", [(), ("--help",), ("merge", "--help"), ("reenroll", "--help")])
def test_every_gallery_command_explains_itself(hmdrn, verb):
    outcome = hmdrn("gallery", *verb)
    assert outcome.code == 0
    assert "Example: hmdrn gallery" in outcome.out


def test_an_unknown_verb_and_a_missing_gallery_are_refused_in_one_line(hmdrn, tmp_path):
    for arguments in (
        ("fly",),
        ("list", tmp_path / "x"),
        ("forget", tmp_path / "x", "a"),
        ("merge", "x", "y"),
    ):
        outcome = hmdrn("gallery", *arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert len(outcome.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_enroll_keeps_names_and_times_and_reports_repetitions(hmdrn, photo, tmp_path):
    first = photo("species/Jay/a.jpg")
    exif = Image.Exif()
    exif[0x0132] = "2026:05:01 08:30:12"
    exif[0x9011] = "+00:00"
    with Image.open(first) as image:
        image.save(first, exif=exif)
    shutil.copy(first, first.with_name("b.jpg"))
    outcome = hmdrn("enroll", "default", tmp_path / "species", "-g", tmp_path / "g", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["species"][0]["given_twice"] == ["Jay/b.jpg"]
    assert "given twice, counted once: Jay/b.jpg (the same photo as Jay/a.jpg)" in outcome.err
    (kept,) = load_gallery(tmp_path / "g").species["Jay"].photos.values()
    assert kept.record.name == "a.jpg"
    assert kept.record.taken.startswith("2026-0")
    again = hmdrn("enroll", "default", tmp_path / "species", "-g", tmp_path / "g", "--json")
    assert again.json["species"][0]["in_gallery_already"] == ["Jay/a.jpg", "Jay/b.jpg"]
    assert "in the gallery already, counted once: Jay/a.jpg" in again.err
    hmdrn("enroll", "default", tmp_path / "species", "-g", tmp_path / "nameless", "--no-file-names")
    (kept,) = load_gallery(tmp_path / "nameless").species["Jay"].photos.values()
    assert (kept.record.name, kept.record.enrolled != "") == ("", True)
