"""Unknowns and doubtful photos on the command line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from outcomes import assert_refused
from PIL import Image, ImageFilter

from hmdrn.cli.threshold_summary import describe_passing
from hmdrn.loading import load
from hmdrn.open_set import add_background, calibrate_threshold, copy_background
from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport
from hmdrn_runtime import recognizer as recognizing
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.gallery.file import edit_gallery, load_gallery, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.open_set.background import open_background
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species


@pytest.fixture(scope="session")
def backed(once, tmp_path_factory, conv4):
    """The trained Conv-4, which is fast, with drawn specimens as background."""

    def make(path):
        data = tmp_path_factory.mktemp("background")
        for s, images in zip(range(20, 44), draw_specimens(range(20, 44), 7, size=84), strict=True):
            (data / name_species(s)).mkdir()
            for n, image in enumerate(images):
                Image.fromarray(image).save(data / name_species(s) / f"{n}.png")
        shutil.copytree(conv4, path)
        add_background(path, [data], lambda what, done, of: None, count=8)

    return once("backed.hmdrn", make)


@pytest.fixture
def gallery(backed, specimens, tmp_path):
    """The gallery of the specimens."""
    opened = load(backed, threads=1)
    for folder in sorted(specimens.iterdir()):
        opened.enroll(folder.name, sorted(folder.iterdir()))
    opened.save_gallery(tmp_path / "site.gallery")
    return tmp_path / "site.gallery"


@pytest.fixture
def calibrated(gallery, backed):
    """The gallery of the specimens, calibrated at a rate of 0.1."""
    opened = load(backed, gallery, threads=1)
    calibrate_threshold(opened, 0.1)
    save_gallery(opened.gallery, gallery)
    return gallery


def test_far_calibrates_the_gallery_and_classify_says_what_is_known(hmdrn, backed, specimens, tmp_path):
    gallery = tmp_path / "g.gallery"
    outcome = hmdrn("enroll", backed, specimens, "-g", gallery, "--false-accept-rate", 0.1, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["far"] == 0.1
    assert load_gallery(gallery).calibration["far"] == 0.1
    answers = hmdrn("classify", backed, specimens, "-g", gallery, "--json").json
    assert {answer["known"] for answer in answers} <= {True, False}
    again = hmdrn("enroll", backed, specimens, "-g", gallery, "--json")
    assert again.json["far"] == 0.1, "the rate that was chosen once stays"


def test_a_gallery_that_is_there_is_calibrated_and_says_at_what_rate(
    hmdrn, backed, gallery, specimens, tmp_path
):
    for look in (("gallery", "list", gallery), ("inspect", gallery)):
        assert hmdrn(*look, "--json").json["far"] is None
        assert "not calibrated" in hmdrn(*look).out
    outcome = hmdrn("gallery", "calibrate", gallery, "--bundle", backed, "--false-accept-rate", 0.1, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["schema"] == "hmdrn.gallery.calibrate/1"
    assert (outcome.json["far"], outcome.json["species"]) == (0.1, 4)
    label = outcome.json["own_photos"]["species"][0]["label"]
    for look in (("gallery", "list", gallery), ("gallery", "show", gallery, label), ("inspect", gallery)):
        assert hmdrn(*look, "--json").json["far"] == 0.1
        assert "calibrated at a false-accept rate of 0.1" in hmdrn(*look).out
    assert "calibrated at a rate of 0.1" in hmdrn("gallery", "history", gallery).out
    enrolled = hmdrn(
        "enroll", backed, specimens, "-g", tmp_path / "h", "--false-accept-rate", 0.1, "--json"
    ).json
    assert enrolled["own_photos"] == outcome.json["own_photos"]
    fresh, later = (load_gallery(path).calibration for path in (tmp_path / "h", gallery))
    assert {**fresh, "temperature": later["temperature"]} == later
    assert fresh["temperature"] == pytest.approx(later["temperature"], rel=1e-6), "rounded in another order"
    again = hmdrn("gallery", "calibrate", gallery, "--bundle", backed, "--json").json
    assert again["far"] == 0.1, "the rate that was chosen once stays"


@pytest.fixture
def strangers(tmp_path):
    """A folder of 12 photos of three species that are not in the gallery."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    for s, images in enumerate(draw_specimens(range(50, 53), 4, size=84)):
        for n, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{s}-{n}.png")
    return folder


def test_photos_of_unknown_species_set_the_threshold_and_are_counted_from_then_on(
    hmdrn, backed, gallery, strangers, specimens
):
    calibrate = ("gallery", "calibrate", gallery, "--bundle", backed, "--false-accept-rate", 0.3)
    alone = hmdrn(*calibrate, "--json").json
    assert (alone["unknown_photos"], alone["unknown_passing"]) == (0, None)
    without = load_gallery(gallery).calibration
    (strangers / "damaged.png").write_bytes(b"not an image")
    outcome = hmdrn(*calibrate, "--unknown", strangers, "--json")
    assert outcome.code == 0, outcome.err
    assert "1 photo that cannot be read" in outcome.err
    assert outcome.json["unknown_photos"] == 12
    # 0.3 of 13 is 3.9: the threshold lies between the third and the fourth.
    answers = hmdrn("classify", backed, strangers, "-g", gallery, "--json").json
    known = [answer for answer in answers if answer.get("known")]
    assert len(known) == 3
    assert outcome.json["unknown_passing"] == [
        {"photo": Path(answer["image"]).name, "label": answer["label"]} for answer in known
    ]
    fitted = load_gallery(gallery).calibration
    assert fitted["threshold"] != without["threshold"]
    hmdrn("enroll", backed, specimens, "-g", gallery)
    assert load_gallery(gallery).calibration == fitted, "nothing new was enrolled"
    again = hmdrn(*calibrate)
    assert "fitted with the scores of 12 photos of unknown species, as before" in again.out
    assert hmdrn(*calibrate, "--forget-unknown", "--json").json["unknown_photos"] == 0
    assert load_gallery(gallery).calibration == without


def test_the_cost_names_the_photos_of_unknown_species_that_pass(hmdrn, backed, gallery, strangers):
    outcome = hmdrn("gallery", "calibrate", gallery, "-b", backed, "--far", 0.3, "--unknown", strangers)
    assert "of 12 photos of unknown species 3 pass (" in outcome.out
    assert ".png as " in outcome.out


def test_photos_of_unknown_species_that_cannot_serve_are_refused(hmdrn, backed, gallery, strangers, tmp_path):
    before = gallery.read_bytes()
    verb = ("gallery", "calibrate", gallery, "-b", backed, "--unknown")
    assert_refused(hmdrn(*verb, strangers, "--forget-unknown"), "exclude each other")
    for photo in sorted(strangers.iterdir())[9:]:
        photo.unlink()
    assert_refused(hmdrn(*verb, strangers), "9 photos of unknown species are too few")
    assert_refused(hmdrn(*verb, tmp_path / "missing"), "missing")
    (tmp_path / "empty").mkdir()
    assert_refused(hmdrn(*verb, tmp_path / "empty"), "has no photo that can be read")
    assert gallery.read_bytes() == before


def test_a_damaged_calibration_is_mended_by_the_next(backed, calibrated):
    opened = load(backed, calibrated, threads=1)
    good = opened.gallery.calibration
    opened.gallery.calibrate({**good, "temperature": "hot"})
    assert calibrate_threshold(opened, 0.1).to_dict() == good


@pytest.mark.slow
def test_enrolling_and_calibrating_at_once_keep_each_others_changes(
    hmdrn, backed, specimens, tmp_path, monkeypatch
):
    gallery = tmp_path / "g.gallery"
    first, *others = sorted(specimens.iterdir())
    shutil.copytree(first, tmp_path / "first" / first.name)
    for other in others:
        shutil.copytree(other, tmp_path / "more" / other.name)
    hmdrn("enroll", backed, tmp_path / "more", "-g", gallery, "--false-accept-rate", 0.05)
    sync = recognizing.sync_gallery

    def meanwhile(*arguments):
        monkeypatch.setattr(recognizing, "sync_gallery", sync)
        assert (
            hmdrn("gallery", "calibrate", gallery, "--bundle", backed, "--false-accept-rate", 0.2).code == 0
        )
        sync(*arguments)

    # The other calibrates after this one has read the gallery, and before it writes.
    monkeypatch.setattr(recognizing, "sync_gallery", meanwhile)
    outcome = hmdrn("enroll", backed, tmp_path / "first", "-g", gallery, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["far"] == 0.2, "the rate that the other has chosen"
    found = load_gallery(gallery)
    assert set(found) == {path.name for path in (first, *others)}
    hmdrn("gallery", "calibrate", gallery, "--bundle", backed)
    again = load_gallery(gallery).calibration
    numbers = {name: again[name] for name in ("threshold", "temperature", "far")}
    assert {name: found.calibration[name] for name in numbers} == pytest.approx(numbers, rel=1e-4)


def test_calibrating_says_what_it_costs_in_own_photos(hmdrn, backed, specimens, tmp_path):
    gallery = tmp_path / "g.gallery"
    enrolled = hmdrn("enroll", backed, specimens, "-g", gallery, "--false-accept-rate", 0.1)
    cost = hmdrn("gallery", "calibrate", gallery, "--bundle", backed, "--json").json["own_photos"]
    words = f"of your own photos {cost['known']} of {cost['of']} would count as known"
    assert words in enrolled.out
    assert words in hmdrn("gallery", "calibrate", gallery, "--bundle", backed).out


def test_the_cost_of_a_calibration_names_species_that_never_pass():
    text = describe_passing(
        AcceptanceReport({"CLEOPATRA": 0, "ADONIS": 2, "LONE": 0}, {"CLEOPATRA": 4, "ADONIS": 4, "LONE": 0})
    )
    assert "2 of 8" in text
    assert "none of CLEOPATRA: enroll more photos of it, or ask for a higher --false-accept-rate" in text
    assert "that is a small share" in text
    assert "for want of a second photo to compare with: LONE" in text
    text = describe_passing(AcceptanceReport({"ADONIS": 3}, {"ADONIS": 4}))
    assert "3 of 4" in text
    assert "none of" not in text
    assert "small share" not in text
    assert "its cost is unknown" in describe_passing(AcceptanceReport({"LONE": 0}, {"LONE": 0}))


@pytest.mark.slow
def test_a_merge_that_drops_the_calibration_names_the_command_for_it(hmdrn, backed, specimens, tmp_path):
    gallery, other = tmp_path / "a b.gallery", tmp_path / "other.gallery"
    hmdrn("enroll", backed, specimens, "-g", gallery, "--false-accept-rate", 0.2)
    (tmp_path / "more").mkdir()
    shutil.copytree(sorted(specimens.iterdir())[0], tmp_path / "more" / "Another name")
    hmdrn("enroll", backed, tmp_path / "more", "-g", other)
    assert "calibrate" not in hmdrn("gallery", "merge", gallery, gallery).err, "nothing changed"
    outcome = hmdrn("gallery", "merge", gallery, other)
    assert f"hmdrn gallery calibrate '{gallery}' --bundle BUNDLE --false-accept-rate 0.2" in outcome.err
    assert load_gallery(gallery).calibration is None


def test_calibrating_what_cannot_be_is_refused_and_changes_nothing(
    hmdrn, backed, exported, gallery, tmp_path
):
    before = gallery.read_bytes()
    verb = ("gallery", "calibrate")
    assert_refused(hmdrn(*verb, gallery, "-b", backed, "--false-accept-rate", 0.7), "--false-accept-rate")
    assert_refused(hmdrn(*verb, tmp_path / "missing", "-b", backed), "no gallery at")
    assert_refused(hmdrn(*verb, gallery, "-b", exported("conv4", "attention")), "--background DATA")
    assert gallery.read_bytes() == before


@pytest.mark.slow
def test_a_bundle_of_another_background_does_not_apply_a_calibration(
    hmdrn, backed, calibrated, specimens, tmp_path
):
    gallery, photo = calibrated, next(specimens.rglob("*.png"))
    assert "calibration" not in hmdrn("classify", backed, photo, "-g", gallery).err
    plain = tmp_path / "plain.hmdrn"
    shutil.copytree(backed, plain)
    manifest = open_bundle(plain).manifest
    model = {key: value for key, value in manifest.model.items() if key != "background"}
    (plain / MANIFEST_NAME).write_text(replace(manifest, model=model).to_json())
    for command in (("classify", plain, photo), ("enroll", plain, specimens)):
        outcome = hmdrn(*command, "-g", gallery, "--json")
        assert outcome.code == 0, outcome.err
        assert "warning: the gallery's calibration is not applied" in outcome.err
    doubts = hmdrn("gallery", "verify", gallery, "--bundle", plain, "--json").json["doubts"]
    assert "this bundle has no background species" in doubts[0]
    with edit_gallery(gallery) as edited:
        edited.calibrate({**edited.calibration, "background": "ab" * 32})
    answer = hmdrn("classify", backed, photo, "-g", gallery, "--json")
    assert answer.json[0]["known"] is None
    assert "other background species (abababababab)" in answer.err
    again = hmdrn("enroll", backed, specimens, "-g", gallery)
    assert "calibration is not applied" not in again.err, "it is calibrated again"


def test_a_gallery_under_another_precision_keeps_its_calibration(hmdrn, backed, calibrated, specimens):
    gallery = calibrated
    found = load_gallery(gallery)
    int8 = {
        label: replace(s, photos={d: replace(p, variant="fp16") for d, p in s.photos.items()})
        for label, s in found.species.items()
    }
    save_gallery(Gallery(found.network, int8, 9, calibration=found.calibration), gallery)
    outcome = hmdrn("classify", backed, next(specimens.rglob("*.png")), "-g", gallery, "--json")
    assert "the gallery's calibration, at a false-accept rate of 0.1, is kept" in outcome.err
    assert outcome.json[0]["known"] in (True, False)
    assert hmdrn("gallery", "verify", gallery, "--bundle", backed, "--json").json["move"]["far"] == 0.1


@pytest.mark.slow
def test_a_gallery_carried_to_another_model_loses_its_calibration(hmdrn, backed, specimens, tmp_path):
    gallery, new = tmp_path / "g.gallery", tmp_path / "new.gallery"
    hmdrn("enroll", backed, specimens, "-g", gallery, "--false-accept-rate", 0.1, "--keep-thumbnails")
    outcome = hmdrn("gallery", "reenroll", gallery, "--bundle", "default", "--output", new)
    assert outcome.code == 0, outcome.err
    assert f"hmdrn gallery calibrate {new} --bundle default --false-accept-rate 0.1" in outcome.err
    assert load_gallery(new).calibration is None


def test_eval_unknown_reports_what_was_asked_for(hmdrn, backed, specimens):
    arguments = ("eval", backed, specimens, "--unknown", "--way", 3, "--shot", "1,2", "--episodes", 5)
    found = hmdrn(*arguments, "--json").json
    assert found["schema"] == "hmdrn.eval.unknown/1"
    assert [r["shot"] for r in found["results"]] == [1, 2]
    for name in ("auroc", "fpr95", "false_accepts", "true_accepts", "ece_before", "ece"):
        assert 0 <= found[name] <= 100
    assert "AUROC" in hmdrn(*arguments).out


def test_a_bundle_without_a_background_is_refused_with_advice(hmdrn, exported, specimens, tmp_path):
    bundle = exported("conv4", "attention")
    assert_refused(
        hmdrn("enroll", bundle, specimens, "-g", tmp_path / "g", "--false-accept-rate", 0.05),
        "--background DATA",
    )
    assert_refused(hmdrn("eval", bundle, specimens, "--unknown"), "--background DATA")
    assert not (tmp_path / "g").exists()


def test_a_background_is_copied_to_a_bundle_of_the_same_network_only(backed, conv4, exported, tmp_path):
    target = shutil.copytree(conv4, tmp_path / "again.hmdrn")
    assert copy_background(backed, target)
    assert open_background(open_bundle(target)).digest == open_background(open_bundle(backed)).digest
    other = shutil.copytree(exported("conv4", "attention"), tmp_path / "other.hmdrn")
    assert not copy_background(backed, other)
    assert open_background(open_bundle(other)) is None


@pytest.mark.slow
def test_an_export_of_a_bundles_own_model_keeps_its_background(hmdrn, backed, tmp_path):
    target = tmp_path / "again.hmdrn"
    outcome = hmdrn("export", "--checkpoint", backed, "--output", target)
    assert outcome.code == 0, outcome.err
    old, new = open_bundle(backed), open_bundle(target)
    assert open_background(new).digest == open_background(old).digest
    assert new.manifest.model == old.manifest.model
    squashed = hmdrn("export", "--checkpoint", backed, "--preprocess", "squash", "--output", target)
    assert "has no background species" in squashed.err


def test_strict_enrolls_nothing_where_a_photo_is_doubtful_and_names_it(hmdrn, conv4, specimens, tmp_path):
    folder = tmp_path / "species"
    shutil.copytree(specimens, folder)
    file = sorted(folder.rglob("*.png"))[0]
    Image.open(file).filter(ImageFilter.GaussianBlur(8)).save(file)
    outcome = hmdrn("enroll", conv4, folder, "-g", tmp_path / "g", "--strict")
    assert_refused(outcome, "blurred")
    assert file.name in outcome.err
    assert not (tmp_path / "g").exists()


def test_a_folder_of_another_species_is_doubted_and_not_refused(hmdrn, conv4, tmp_path):
    ants, bees = draw_specimens(range(2), 11, size=84)
    for name, photos in {"ant": ants[:6], "bee": bees[:5], "wasp": ants[6:]}.items():
        (tmp_path / "species" / name).mkdir(parents=True)
        for n, photo in enumerate(photos):
            Image.fromarray(photo).save(tmp_path / "species" / name / f"{n}.png")
    enroll = ("enroll", conv4, tmp_path / "species", "-g", tmp_path / "g")
    outcome = hmdrn(*enroll, "--strict", "--json")
    doubts = {species["label"]: species["doubt"] for species in outcome.json["species"]}
    assert doubts["bee"] is None
    assert f"warning: {doubts['wasp']}" in outcome.err
    assert "photos of 'wasp' look like 'ant'" in doubts["wasp"]
    wasps = outcome.json["species"][2]
    fits = {photo["name"]: photo["fit"] for photo in wasps["photos"]}
    assert wasps["please_check"] == sorted(fits, key=fits.get), "the least sure first"
    assert 0 < outcome.json["forecast"]["accuracy"]["share"] < 1
    assert {"ant", "wasp"} in [set(pair["labels"]) for pair in outcome.json["forecast"]["mixed_up"]]
    look = ("gallery", "show", tmp_path / "g", "wasp")
    assert hmdrn(*look, "--json").json["forecast"] is None
    shown = hmdrn(*look, "--bundle", conv4, "--json").json["forecast"]
    assert [species["label"] for species in shown["species"]] == ["wasp"]
    assert "wasp: " in hmdrn(*look, "--bundle", conv4).out
    again = hmdrn(*enroll, "--strict").out
    assert "enrolled before" in again
    assert "expected on new photos like these" in again


def test_strict_refuses_copies_and_the_sheet_shows_them(hmdrn, conv4, specimens, tmp_path):
    folder = tmp_path / "species"
    shutil.copytree(specimens, folder)
    file = sorted(folder.rglob("*.png"))[0]
    Image.open(file).convert("RGB").save(file.with_name("copy.jpg"), quality=85)
    enroll = ("enroll", conv4, folder, "-g", tmp_path / "g")
    assert_refused(hmdrn(*enroll, "--strict"), "copy.jpg", "counts as one with it")
    assert not (tmp_path / "g").exists()


def test_strict_takes_dark_overexposed_and_small_photos(hmdrn, conv4, specimens, tmp_path):
    folder = tmp_path / "species"
    shutil.copytree(specimens, folder)
    dark, bright, small = sorted(folder.rglob("0.png"))[:3]
    Image.open(dark).point(lambda value: value // 12).save(dark)
    Image.open(bright).point(lambda value: min(255, value + 190)).save(bright)
    Image.open(small).resize((40, 40)).save(small)
    outcome = hmdrn("enroll", conv4, folder, "-g", tmp_path / "g", "--strict", "--json")
    assert outcome.code == 0, outcome.err
    verdicts = [photo["verdict"] for species in outcome.json["species"] for photo in species["photos"]]
    assert [sum(fault in verdict for verdict in verdicts) for fault in ("dark", "blown", "small")] == [
        1,
        1,
        1,
    ]


def test_strict_takes_photos_again_that_the_species_has_already(hmdrn, conv4, specimens, tmp_path):
    hmdrn("enroll", conv4, specimens, "-g", tmp_path / "g")
    outcome = hmdrn("enroll", conv4, specimens, "-g", tmp_path / "g", "--strict")
    assert outcome.code == 0, outcome.err


def test_enroll_gives_every_photo_a_verdict_and_draws_them(hmdrn, conv4, specimens, tmp_path):
    sheet = tmp_path / "sheet.png"
    outcome = hmdrn("enroll", conv4, specimens, "-g", tmp_path / "g", "--contact-sheet", sheet, "--json")
    for species in outcome.json["species"]:
        assert [photo["name"] for photo in species["photos"]] == [
            f"{species['label']}/{n}.png" for n in range(6)
        ]
        assert sum(photo["most_useful"] for photo in species["photos"]) == 1
        assert species["nearest"]["label"] != species["label"]
    assert min(Image.open(sheet).size) > 500
    assert "most useful photo" in hmdrn("enroll", conv4, specimens, "-g", tmp_path / "h").out
    assert (tmp_path / "h.png").is_file()


@pytest.mark.parametrize("sheet", ["sheet.txt", "missing/sheet.png"])
def test_a_contact_sheet_that_cannot_be_is_refused_before_the_work(hmdrn, conv4, specimens, tmp_path, sheet):
    outcome = hmdrn("enroll", conv4, specimens, "-g", tmp_path / "g", "--contact-sheet", tmp_path / sheet)
    assert_refused(outcome, sheet.rpartition("/")[2])
    assert not (tmp_path / "g").exists()
