"""Unknowns and doubtful photos on the command line."""

from __future__ import annotations

import shutil

import pytest
from outcomes import assert_refused
from PIL import Image, ImageFilter

from hmdrn.loading import bundle_path
from hmdrn.unknowns import add_background
from hmdrn_runtime.gallery_file import load_gallery
from hmdrn_runtime.specimens import draw_specimens, species_name


@pytest.fixture(scope="session")
def backed(once, tmp_path_factory):
    """The default model with drawn specimens as background."""

    def make(path):
        data = tmp_path_factory.mktemp("background")
        for s, images in zip(range(20, 44), draw_specimens(range(20, 44), 7, size=84), strict=True):
            (data / species_name(s)).mkdir()
            for n, image in enumerate(images):
                Image.fromarray(image).save(data / species_name(s) / f"{n}.png")
        shutil.copytree(bundle_path("default"), path)
        add_background(path, [data], lambda what, done, of: None, count=8)

    return once("backed.hmdrn", make)


def test_far_calibrates_the_gallery_and_classify_says_what_is_known(hmdrn, backed, specimens, tmp_path):
    gallery = tmp_path / "g.gallery"
    outcome = hmdrn("enroll", backed, specimens, "-g", gallery, "--far", 0.1, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["far"] == 0.1
    assert load_gallery(gallery).calibration["far"] == 0.1
    answers = hmdrn("classify", backed, specimens, "-g", gallery, "--json").json
    assert {answer["known"] for answer in answers} <= {True, False}
    again = hmdrn("enroll", backed, specimens, "-g", gallery, "--json")
    assert again.json["far"] == 0.1, "the rate that was chosen once stays"


def test_eval_unknown_reports_what_was_asked_for(hmdrn, backed, specimens):
    arguments = ("eval", backed, specimens, "--unknown", "--way", 3, "--shot", "1,2", "--episodes", 5)
    found = hmdrn(*arguments, "--json").json
    assert found["schema"] == "hmdrn.eval.unknown/1"
    assert [r["shot"] for r in found["results"]] == [1, 2]
    for name in ("auroc", "fpr95", "false_accepts", "true_accepts", "ece_before", "ece"):
        assert 0 <= found[name] <= 100
    assert "AUROC" in hmdrn(*arguments).out


def test_a_bundle_without_a_background_is_told_how_to_get_one(hmdrn, exported, specimens, tmp_path):
    bundle = exported("conv4", "ridge")
    assert_refused(
        hmdrn("enroll", bundle, specimens, "-g", tmp_path / "g", "--far", 0.05), "--background DATA"
    )
    assert_refused(hmdrn("eval", bundle, specimens, "--unknown"), "--background DATA")
    assert not (tmp_path / "g").exists()


def test_strict_enrolls_nothing_where_a_photo_is_doubtful_and_names_it(hmdrn, specimens, tmp_path):
    folder = tmp_path / "species"
    shutil.copytree(specimens, folder)
    file = sorted(folder.rglob("*.png"))[0]
    Image.open(file).filter(ImageFilter.GaussianBlur(8)).save(file)
    outcome = hmdrn("enroll", "default", folder, "-g", tmp_path / "g", "--strict")
    assert_refused(outcome, "blurred")
    assert file.name in outcome.err
    assert not (tmp_path / "g").exists()


def test_strict_takes_photos_again_that_the_species_has_already(hmdrn, specimens, tmp_path):
    hmdrn("enroll", "default", specimens, "-g", tmp_path / "g")
    outcome = hmdrn("enroll", "default", specimens, "-g", tmp_path / "g", "--strict")
    assert outcome.code == 0, outcome.err


def test_enroll_tells_a_verdict_for_every_photo_and_draws_them(hmdrn, specimens, tmp_path):
    sheet = tmp_path / "sheet.png"
    outcome = hmdrn("enroll", "default", specimens, "-g", tmp_path / "g", "--contact-sheet", sheet, "--json")
    for species in outcome.json["species"]:
        assert [photo["name"] for photo in species["photos"]] == [
            f"{species['label']}/{n}.png" for n in range(6)
        ]
        assert sum(photo["most_useful"] for photo in species["photos"]) == 1
        assert species["nearest"]["label"] != species["label"]
    assert min(Image.open(sheet).size) > 500
    assert "most useful photo" in hmdrn("enroll", "default", specimens, "-g", tmp_path / "h").out
    assert (tmp_path / "h.png").is_file()


@pytest.mark.parametrize("sheet", ["sheet.txt", "missing/sheet.png"])
def test_a_contact_sheet_that_cannot_be_is_refused_before_the_work(hmdrn, specimens, tmp_path, sheet):
    outcome = hmdrn("enroll", "default", specimens, "-g", tmp_path / "g", "--contact-sheet", tmp_path / sheet)
    assert_refused(outcome, sheet.rpartition("/")[2])
    assert not (tmp_path / "g").exists()
