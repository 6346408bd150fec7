"""`hmdrn profile`: its parts, its exit codes, and its output when it is interrupted."""

from __future__ import annotations

import json

import pytest
from outcomes import assert_refused
from PIL import Image

import hmdrn as sdk
from hmdrn.cli.commands import profile as module
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.variants import list_accurate_variants

QUICK = ("--threads", 1, "--seconds", 0.001, "--runs", 2, "--cold-starts", 0)
CPU = "onnxruntime"
SMALL = (*QUICK, "--source", "jpeg", "--batches", "2", "--species", "5,7", "--thread-counts", "1")


@pytest.mark.slow
def test_all_that_is_asked_for_is_in_the_json_and_in_the_picture(hmdrn, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_DRAWN", 2)
    picture = tmp_path / "profile.png"
    compare = ("--compare", "default", "--compare-variant", "fp32")
    options = ("--cold-starts", 1, *compare, "--save", "--picture", picture)
    outcome = hmdrn("profile", "default", *SMALL, *options, "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert found["schema"] == "hmdrn.profile/1"
    json.loads(outcome.out, parse_constant=pytest.fail)  # every number is finite, or null
    assert (found["bundle"], found["other"], found["threads"]) == ("default", "default", 1)
    assert set(found["stages"]) == set(found["comparison"]) == {"jpeg"}
    assert [point["value"] for point in found["by_species"]] == [5, 7]
    ratio = found["comparison"]["jpeg"]["ratio"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert 0 < found["cold_start"]["import_s"] < found["cold_start"]["total_s"]
    assert found["cold_start"]["peak_mib"] > 20
    assert {"power_mode", "clocks", "temperatures", "rails"} == set(found["conditions"]["before"])
    assert Image.open(picture).width > 1000
    times = found["stored"]
    assert set(times) == set(list_accurate_variants(sdk.open_bundle(resolve_bundle("default")).manifest, CPU))
    fastest = min(times, key=times.get)
    assert (found["variant"], found["chosen_by_profile"]) == (fastest, len(times) > 1)
    assert f"stored how fast {', '.join(times)} are here in {tmp_path}" in outcome.err
    [model] = hmdrn("models", "default", "--json").json["models"]
    assert model["milliseconds"] == times[fastest]


@pytest.mark.slow
def test_the_tables_have_every_part(hmdrn):
    outcome = hmdrn("profile", "default", *SMALL, "--compare", "default")
    assert outcome.code == 0, outcome.err
    for words in (
        "preprocessing",
        "enrollment",
        "CPU threads",
        "Conv",
        "interval",
        "clocks, before and after",
    ):
        assert words in outcome.out


@pytest.mark.slow
def test_species_are_those_of_the_gallery_that_is_given(hmdrn, specimens, tmp_path):
    path = tmp_path / "site.gallery"
    birds = sdk.load("default", threads=1)
    for folder in sorted(specimens.iterdir())[:3]:
        birds.enroll(folder.name, sorted(folder.iterdir())[:2])
    birds.save_gallery(path)
    before = path.read_bytes()
    outcome = hmdrn("profile", "default", *SMALL, "--gallery", path, "--json")
    assert outcome.json["species"] == 3
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_budget_that_is_missed_ends_with_3_and_one_that_holds_with_0(hmdrn):
    missed = hmdrn("profile", "default", *SMALL, "--budget-ms", 0.001, "--json")
    assert missed.code == 3
    assert "the budget of 0.001 ms is missed: p90" in missed.err
    assert missed.json["budget_ms"] == 0.001
    assert hmdrn("profile", "default", *SMALL, "--budget-ms", 1e6).code == 0


@pytest.mark.parametrize("as_json", [True, False])
def test_an_interrupt_leaves_what_has_been_measured(hmdrn, monkeypatch, as_json):
    def interrupted(recognizer, settings, report):
        for number, found in enumerate(profile_bundle(recognizer, settings, report)):
            yield found
            if number == 1:
                raise KeyboardInterrupt

    profile_bundle = module.profile_bundle
    monkeypatch.setattr(module, "profile_bundle", interrupted)
    outcome = hmdrn("profile", "default", *SMALL, "--budget-ms", 0.001, *(["--json"] if as_json else []))
    assert outcome.code == 130
    assert "interrupted" in outcome.err
    if as_json:
        assert outcome.json["interrupted"] is True
        assert outcome.json["enrollment"]
        assert outcome.json["batches"] == []
    else:
        assert "preprocessing" in outcome.out
        assert "photos/s" not in outcome.out


@pytest.mark.slow
def test_times_that_wandered_are_warned_of(hmdrn, monkeypatch):
    monkeypatch.setattr("hmdrn_runtime.profiling.latency.UNSTABLE", -1.0)
    monkeypatch.setattr(module, "_PATIENCE", 1e6)
    outcome = hmdrn("profile", "default", *SMALL, "--runs", 12)
    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert "warning: times wandered (from jpeg to prediction" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batches", "1,many"), "1,many"),
        (("--species", "0"), "at least 1"),
        (("--thread-counts", ""), "--thread-counts"),
        (("--source", "video"), "video"),
        (("--compare", "nowhere.hmdrn"), "nowhere.hmdrn"),
        (("--compare-variant", "fp32"), "--compare"),
        (("--variant", "fp4"), "fp4"),
        (("--gallery", "nowhere.gallery"), "nowhere.gallery"),
        (("--picture", "missing/p.png"), "the folder missing"),
        (("--budget-ms", "0"), "--budget-ms"),
    ],
)
def test_a_mistake_is_reported_in_one_line(hmdrn, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(hmdrn("profile", "default", *SMALL, *arguments), words)
