"""`hmdrn eval` beyond a single bundle on a single data set."""

from __future__ import annotations

import shutil
import unicodedata

import pytest
from outcomes import assert_refused
from PIL import Image

from hmdrn.cli.commands.eval import _hold_out
from hmdrn.loading import resolve_checkpoint
from hmdrn_runtime.datasets.dataset import open_dataset

SMALL = ("--way", 3, "--queries", 2, "--episodes", 8)


@pytest.fixture
def damaged(specimens, tmp_path):
    """The specimens with one damaged photo and one link to nothing."""
    folder = shutil.copytree(specimens, tmp_path / "damaged")
    first, second, *_ = sorted(folder.iterdir())
    (first / "0.png").write_bytes(b"not an image")
    (second / "5.png").unlink()
    (second / "5.png").symlink_to(tmp_path / "gone.png")
    return folder


@pytest.mark.parametrize("mode", [(), ("--against", "default")])
def test_unreadable_photos_are_left_out_counted_and_named(hmdrn, damaged, mode):
    outcome = hmdrn("eval", "default", damaged, "--shot", 4, "--episodes", 4, "--json", *mode)
    assert outcome.code == 0, outcome.err
    assert "warning: 2 photos that cannot be read, left out: " in outcome.err
    assert all(name in outcome.err for name in ("0.png", "5.png", "link to a missing file"))
    assert len(outcome.json["unreadable"]) == 2
    assert outcome.json["photos"] == 22
    assert outcome.json["queries"] == 1, "as many as the class with fewest readable photos has"


def test_strict_data_refuses_all_unreadable_photos_at_once(hmdrn, damaged, specimens):
    arguments = ("eval", "default", specimens, damaged, "--shot", 2, *SMALL, "--strict-data")
    assert_refused(hmdrn(*arguments), "2 photos cannot be read", "0.png", "5.png")


def test_all_data_that_cannot_be_opened_is_named_at_once(hmdrn, specimens, tmp_path):
    outcome = hmdrn("eval", "default", tmp_path / "one", specimens, tmp_path / "two")
    assert_refused(outcome, "2 problems", "one does not exist", "two does not exist")


def test_spellings_of_one_species_are_one_class_and_lookalikes_are_reported(hmdrn, specimens, tmp_path):
    names = ("Me\u0301sange", "M\u00e9sange", "Grey Wren", "grey_wren")
    for i, (folder, name) in enumerate(zip(sorted(specimens.iterdir()), names, strict=True)):
        for photo in folder.iterdir():
            target = tmp_path / "data" / name / f"{i}-{photo.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, target)
    outcome = hmdrn("eval", "default", tmp_path / "data", "--shot", 2, *SMALL, "--json")
    assert outcome.code == 0, outcome.err
    assert sorted(outcome.json["per_class"]) == ["Grey Wren", "M\u00e9sange", "grey_wren"]
    assert "'Grey Wren' and 'grey_wren' look alike and count as 2 classes" in outcome.err


def test_classes_are_held_out_whatever_the_spelling_of_data_and_record(specimens, tmp_path):
    names = ("M\u00e9sange", "\u00c9pervier", "wren", "tit")
    digests = set()
    for form in ("NFC", "NFD"):
        for folder, name in zip(sorted(specimens.iterdir()), names, strict=True):
            shutil.copytree(folder, tmp_path / form / unicodedata.normalize(form, name))
        digests.add(open_dataset(tmp_path / form).digest())
    (digest,) = digests
    recipe = {"data": {"birds": {"sha256": digest, "train": ["Me\u0301sange", "wren"]}}}
    for form in ("NFC", "NFD"):
        held_out = _hold_out(open_dataset(tmp_path / form), recipe, "default")
        assert list(held_out.classes) == ["tit", "\u00c9pervier"]


def test_several_shots_are_measured_in_one_run(hmdrn, specimens):
    both = hmdrn("eval", "default", specimens, "--shot", "1,3", *SMALL, "--json").json
    assert [r["shot"] for r in both["results"]] == [1, 3]
    assert both["shot"] == 1, "the first result is at the top too"
    for result in both["results"]:
        alone = hmdrn("eval", "default", specimens, "--shot", result["shot"], *SMALL, "--json").json
        assert alone["results"] == [result]
        assert alone["accuracy"] == result["accuracy"]
        assert set(result["per_class"]) == {p.name for p in specimens.iterdir()}


def test_several_ways_are_measured_in_one_run_as_far_as_classes_last(hmdrn, specimens):
    options = ("--way", "2,3,50", "--shot", "1,2", "--queries", 2, "--episodes", 4)
    results = hmdrn("eval", "default", specimens, *options, "--json").json["results"]
    assert [(r["way"], r["shot"]) for r in results] == [(2, 1), (2, 2), (3, 1), (3, 2)]


def test_a_small_data_set_is_measured_in_episodes_that_it_has_photos_for(hmdrn, specimens):
    found = hmdrn("eval", "default", specimens, "--shot", "1,4", "--episodes", 4, "--json").json
    photos = min(len(list(species.iterdir())) for species in specimens.iterdir())
    for result in found["results"]:
        assert (result["way"], result["queries"]) == (len(list(specimens.iterdir())), photos - 4)


def test_a_checkpoint_is_measured_with_torch_and_is_what_its_bundle_is(hmdrn, specimens):
    outcome = hmdrn(
        *(
            "eval",
            resolve_checkpoint("default"),
            specimens,
            "--shot",
            2,
            *SMALL,
            "--against",
            "default",
            "--json",
        )
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["executor"].startswith("torch ")
    assert abs(outcome.json["difference"]) <= 5, "a query of 48 may fall on the other side"
    assert outcome.json["other_accuracy"] == pytest.approx(
        outcome.json["accuracy"] - outcome.json["difference"]
    )


def test_data_sets_are_measured_one_by_one_or_with_pooled_classes(hmdrn, specimens, tmp_path):
    others = tmp_path / "plain"
    for color in range(4):
        (others / f"c{color}").mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (90, 90), (60 * color, 5 * i, 100)).save(others / f"c{color}" / f"{i}.png")
    apart = hmdrn("eval", "default", specimens, others, "--shot", 2, *SMALL, "--json").json
    assert [r["data"] for r in apart["results"]] == [str(specimens), str(others)]
    (across,) = hmdrn(
        "eval", "default", specimens, others, "--cross-group", "--shot", 2, *SMALL, "--json"
    ).json["results"]
    assert (across["classes"], across["photos"]) == (8, 48)
    assert {name.split("/")[0] for name in across["per_class"]} == {specimens.name, "plain"}


def test_the_table_has_accuracies_differences_and_classes(hmdrn, specimens):
    outcome = hmdrn("eval", "default", specimens, "--shot", 2, *SMALL, "--against", "default", "--per-class")
    assert "+0.00 ± 0.00" in outcome.out
    assert all(species.name in outcome.out for species in specimens.iterdir())


def test_confusion_is_drawn(hmdrn, specimens, tmp_path):
    picture = tmp_path / "confusion.png"
    outcome = hmdrn("eval", "default", specimens, "--shot", 2, *SMALL, "--confusion", picture)
    assert outcome.code == 0, outcome.err
    assert min(Image.open(picture).size) > 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shot", "many"), "many"),
        (("--shot", "1,"), "1,"),
        (("--shot", "0"), "shot is 0"),
        (("--against", "nowhere.hmdrn"), "nowhere.hmdrn"),
        (("--against", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--confusion", "missing/c.png"), "the folder missing"),
    ],
)
def test_a_mistake_is_reported_in_one_line(hmdrn, specimens, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(hmdrn("eval", "default", specimens, *SMALL, "--shot", 2, *arguments), words)


def test_a_confusion_picture_without_a_known_suffix_is_refused(hmdrn, specimens, tmp_path):
    target = tmp_path / "confusion.nothing"
    assert_refused(
        hmdrn("eval", "default", specimens, *SMALL, "--shot", 2, "--confusion", target), str(target)
    )
    assert not target.exists()
