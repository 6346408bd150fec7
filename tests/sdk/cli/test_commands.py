"""The commands, as the entry point runs them, on the package's own model and drawn specimens."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

import hmdrn as hmdrn_package
from hmdrn.cli.main import run
from hmdrn.demo import _wrap_text
from hmdrn.fonts import measure_text
from hmdrn_runtime.gallery.file import load_gallery


def test_enroll_makes_a_gallery_of_every_folder(gallery, specimens):
    enrolled = load_gallery(gallery)
    assert sorted(enrolled) == sorted(p.name for p in specimens.iterdir())
    assert all(species.shots == 6 for species in enrolled.species.values())


def test_enroll_again_adds_nothing_and_says_so(hmdrn, gallery, specimens):
    outcome = hmdrn("enroll", "default", specimens, "--gallery", gallery, "--json")
    assert outcome.code == 0
    assert outcome.json["schema"] == "hmdrn.enroll/1"
    assert {s["added"] for s in outcome.json["species"]} == {0}
    assert {s["duplicates"] for s in outcome.json["species"]} == {6}


def test_enroll_adds_a_species_to_a_gallery(hmdrn, gallery, photo, tmp_path):
    photo("more/New Species/a.png")
    assert hmdrn("enroll", "default", tmp_path / "more", "--gallery", gallery).code == 0
    assert "New Species" in load_gallery(gallery)
    assert len(load_gallery(gallery)) == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_disk_too_full_for_the_picture_does_not_hide_the_enrollment(hmdrn, photo, tmp_path):
    photo("more/Jay/a.png")
    path, sheet = tmp_path / "site.gallery", tmp_path / "sheet.png"
    for flags in ((), ("--json",)):
        sheet.symlink_to("/dev/full")
        outcome = hmdrn(
            *("enroll", "default", tmp_path / "more", "-g", path, "--contact-sheet", sheet, *flags)
        )
        sheet.unlink(missing_ok=True)
        assert outcome.code == 0
        assert f"hmdrn: warning: cannot write picture {sheet}" in outcome.err
        assert "the species are enrolled all the same" in outcome.err
        assert "Jay" in outcome.out
        assert "wrote" not in outcome.out
    assert outcome.json["contact_sheet"] is None
    assert load_gallery(path).species["Jay"].shots == 1


def test_enroll_warns_of_a_photo_in_two_species_and_of_similar_labels(hmdrn, gallery, photo, tmp_path):
    photo("more/Jay/a.png", seed=1)
    photo("more/Tit/a.png", seed=1)
    photo("more/tit/b.png", seed=2)
    outcome = hmdrn("enroll", "default", tmp_path / "more", "--gallery", gallery, "--json")
    assert outcome.code == 0
    jay, tit, small_tit = outcome.json["species"]
    assert (jay["also_in"], jay["similar"]) == ([], [])
    assert (tit["also_in"], tit["similar"]) == (["Jay"], [])
    assert (small_tit["also_in"], small_tit["similar"]) == ([], ["Tit"])
    first, second = outcome.err.splitlines()
    assert first.startswith("hmdrn: warning: 'Tit' and 'Jay' hold the same photo")
    assert second.startswith("hmdrn: warning: 'tit' and 'Tit' count as two species")


def test_enroll_prints_a_table_for_people(hmdrn, specimens, tmp_path):
    outcome = hmdrn("enroll", "default", specimens, "--gallery", tmp_path / "g.gallery")
    assert outcome.code == 0
    for folder in specimens.iterdir():
        assert folder.name in outcome.out


def test_classify_answers_for_every_image(hmdrn, gallery, specimens):
    images = sorted(specimens.rglob("*.png"))[:3]
    outcome = hmdrn("classify", "default", *images, "--gallery", gallery, "--json")
    assert outcome.code == 0
    assert [entry["image"] for entry in outcome.json] == [str(i) for i in images]
    for entry in outcome.json:
        assert set(entry) == {"schema", "image", "label", "known", "probability", "margin", "ranking"}
        assert entry["label"] == entry["ranking"][0]["label"]
        assert sum(m["probability"] for m in entry["ranking"]) == pytest.approx(1.0)


def test_classify_passes_over_system_files_and_names_what_it_leaves_out(hmdrn, gallery, specimens, tmp_path):
    folder = tmp_path / "card"
    photo = next(specimens.glob("*/0.png"))
    for name in ("DCIM/1.PNG", "DCIM/2.jfif", "System Volume Information/3.png", "LOST.DIR/4.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photo) as image:
            image.save(folder / name, "JPEG" if name.endswith("jfif") else "PNG")
    (folder / "DCIM" / "5.ico").touch()
    outcome = hmdrn("classify", "default", folder, "-g", gallery, "--json")
    assert outcome.code == 0, outcome.err
    assert [Path(answer["image"]).name for answer in outcome.json] == ["1.PNG", "2.jfif"]
    assert "left out 1 that are not photos: DCIM/5.ico" in outcome.err


def test_classify_takes_folders_and_top(hmdrn, gallery, specimens):
    outcome = hmdrn("classify", "default", specimens, "--gallery", gallery, "--json", "--top", 2)
    assert len(outcome.json) == 24
    assert all(len(entry["ranking"]) == 2 for entry in outcome.json)


def test_the_table_of_classify_has_the_ranking_and_no_unknown_verdict(hmdrn, gallery, specimens):
    image = next(specimens.rglob("*.png"))
    ranking = hmdrn("classify", "default", image, "--gallery", gallery, "--json").json[0]["ranking"]
    assert hmdrn("classify", "default", image, "--gallery", gallery, "--ranking").out.count("(") == 3
    for option, top in (("--top", 1), ("--ranking", 2), ("--ranking", 4)):
        shown = hmdrn("classify", "default", image, "--gallery", gallery, option, top).out
        assert [f"{match['label']} (" in shown for match in ranking] == [
            False,
            *(i < top for i in range(1, 4)),
        ]
    assert "known" not in shown


def test_classify_prints_a_line_for_each_photo_and_writes_csv(hmdrn, gallery, specimens, tmp_path):
    folder = min(specimens.iterdir())
    answers = hmdrn("classify", "default", folder, "--gallery", gallery, "--json").json
    outcome = hmdrn("classify", "default", folder, "--gallery", gallery, "--csv", tmp_path / "a.csv")
    lines = outcome.out.splitlines()
    assert len(lines) == len(answers) == 6
    for line, answer in zip(lines, answers, strict=True):
        assert line.startswith(f"{answer['image']}  {answer['label']}")
        assert line.endswith(f"{100 * answer['probability']:.1f} %")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["species"]) for row in rows] == [(a["image"], a["label"]) for a in answers]
    assert [float(row["probability"]) for row in rows] == pytest.approx(
        [a["probability"] for a in answers], abs=1e-4
    )
    refusal = hmdrn("classify", "default", folder, "--gallery", gallery, "--csv", tmp_path / "a.txt")
    assert (refusal.code, refusal.err.count("\n")) == (2, 1)


def test_classify_notes_that_a_gallery_of_one_species_has_one_answer(hmdrn, photo, tmp_path):
    image = photo("species/Jay/a.png")
    assert hmdrn("enroll", "default", tmp_path / "species", "--gallery", tmp_path / "g").code == 0
    outcome = hmdrn("classify", "default", image, "--gallery", tmp_path / "g", "--json")
    assert outcome.code == 0
    assert outcome.err.startswith("hmdrn: note: the gallery has one species")
    assert outcome.json[0]["label"] == "Jay"


def test_an_enrolled_photo_is_named_as_what_it_was_enrolled_as(hmdrn, gallery, specimens):
    outcome = hmdrn("classify", "default", specimens, "--gallery", gallery, "--json")
    right = [entry["label"] in entry["image"] for entry in outcome.json]
    assert sum(right) >= 20


@pytest.mark.slow
def test_eval_is_reproducible_and_reports_what_it_did(hmdrn, specimens):
    arguments = (
        "eval",
        "default",
        specimens,
        "--way",
        3,
        "--shot",
        2,
        "--queries",
        3,
        "--episodes",
        40,
        "--json",
    )
    first, second = hmdrn(*arguments), hmdrn(*arguments)
    assert first.code == 0
    assert first.json == second.json
    assert first.json["schema"] == "hmdrn.eval/1"
    assert {first.json[k] for k in ("way",)} == {3}
    assert first.json["episodes"] == 40
    assert 33 < first.json["accuracy"] <= 100
    assert hmdrn(*arguments, "--seed", 1).json["accuracy"] != first.json["accuracy"]


def test_eval_agrees_for_galleries_matched_inside_and_outside_the_graph(hmdrn, specimens, exported):
    """Ridge is matched outside the graphs, attention inside: both must give what `classify` gives."""
    outcome = hmdrn(
        *("eval", exported("conv4", "attention"), specimens, "--way", 3, "--shot", 2, "--queries", 2),
        *("--episodes", 5, "--json"),
    )
    assert outcome.code == 0
    assert 0 <= outcome.json["accuracy"] <= 100


def test_inspect_shows_the_default_bundle_with_license_and_data(hmdrn):
    values = hmdrn("inspect", "default", "--json").json
    assert values["model"]["license"] == "Apache-2.0"
    assert "train splits" in values["model"]["training_data"]
    assert values["verification"]["fp32"]["failures"] == []
    shown = hmdrn("inspect", "default").out
    assert values["network"]["fingerprint"] in shown


def test_inspect_shows_a_gallery(hmdrn, gallery, specimens):
    values = hmdrn("inspect", gallery, "--json").json
    assert {s["label"] for s in values["species"]} == {p.name for p in specimens.iterdir()}
    digest = values["species"][0]["photos"][0][:8]
    assert digest not in hmdrn("inspect", gallery).out
    assert digest in hmdrn("inspect", gallery, "--photos").out


def test_inspect_shows_figures_for_people(hmdrn):
    shown = hmdrn("inspect", "default").out
    manifest = hmdrn("inspect", "default", "--json").json
    for name, value in manifest["model"]["metrics"].items():
        assert (f"{value:.2f} %" if name.endswith("accuracy") else f"± {value:.2f}") in shown
    assert f"{manifest['verification']['fp32']['distance_error']:.1e}" in shown


def test_demo_names_drawn_specimens_and_draws_a_picture(hmdrn, tmp_path):
    outcome = hmdrn("demo", "--output", tmp_path / "demo.png", "--json")
    assert outcome.code == 0
    assert outcome.json["total"] == 30
    assert outcome.json["right"] > 15
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.width > 800
        assert picture.height > 600


def test_demo_with_the_users_own_photos(hmdrn, specimens, tmp_path):
    outcome = hmdrn("demo", "--photos", specimens, "--output", tmp_path / "demo.png", "--json")
    assert outcome.code == 0
    assert {s["label"] for s in outcome.json["species"]} == {p.name for p in specimens.iterdir()}
    assert all(s["enrolled"] == 3 for s in outcome.json["species"])


def test_a_label_is_made_smaller_or_wrapped_before_it_is_cut():
    label = "Black-capped Chickadee"
    assert measure_text(label, 11) > 104
    assert _wrap_text(label, 11, 104) == ["Black-capped", "Chickadee"]
    assert all(measure_text(line, 11) <= 104 for line in _wrap_text(label, 11, 104))


def test_export_starts_as_the_other_commands_do(capsys):
    from hmdrn.cli.commands.export import command

    for arguments, words in (
        (["-h"], "--calibration"),
        (["--version"], f"version {hmdrn_package.__version__}"),
    ):
        assert run(command, "hmdrn-export", arguments) == 0
        assert words in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_export_of_the_packages_own_weights_says_what_comes_next(hmdrn, untraced, tmp_path, monkeypatch):
    from hmdrn.loading import resolve_checkpoint
    from hmdrn_network.checkpoints import load_checkpoint

    monkeypatch.chdir(tmp_path)
    first = hmdrn("export", "--precision", "fp32", "--json")
    target = f"{load_checkpoint(resolve_checkpoint('default')).card.name}-fp32.hmdrn"
    untraced(tmp_path / target)
    second = hmdrn("export", "--output", target)
    assert (first.code, second.code) == (0, 0), first.err
    assert first.json["bundle"] == target
    size = sum(file.stat().st_size for file in (tmp_path / target).rglob("*") if file.is_file())
    written = f"wrote {target} ({size / 1e6:.2f} MB); replaced the bundle that was there\n"
    assert f"{written}next: hmdrn enroll {target} " in second.out
    exported, shipped = (hmdrn("inspect", bundle, "--json").json for bundle in (tmp_path / target, "default"))
    assert exported["network"] == shipped["network"]
    assert {tuple(graph["backends"]) for graph in exported["variants"]["fp32"].values()} == {("onnxruntime",)}


@pytest.mark.parametrize(
    "verb",
    ["classify", "demo", "doctor", "enroll", "eval", "explain", "export", "gallery", "inspect", "train"],
)
def test_every_command_explains_itself_with_an_example(hmdrn, verb):
    outcome = hmdrn(verb, "--help")
    assert outcome.code == 0
    assert "Example: hmdrn" in outcome.out


def test_a_gallery_moves_with_a_bundle_that_was_exported_anew(hmdrn, gallery, specimens, tmp_path):
    """The fingerprint is of the weights, not of the files: a copied bundle takes the same gallery."""
    from hmdrn.loading import resolve_bundle

    shutil.copytree(resolve_bundle("default"), tmp_path / "copy.hmdrn")
    image = next(specimens.rglob("*.png"))
    first = hmdrn("classify", "default", image, "--gallery", gallery, "--json").json
    second = hmdrn("classify", tmp_path / "copy.hmdrn", image, "--gallery", gallery, "--json").json
    assert first == second
