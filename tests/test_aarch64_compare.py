"""The helper of .ci/aarch64 refuses answers that differ."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path

import pytest

from hmdrn.doctor.probe_runner import run_probe
from hmdrn.selftest import selftest

SCRIPT = Path(__file__).parents[1] / ".ci" / "aarch64"
HELPER = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "aarch64-compare.py"))
ANSWERS = [
    {
        "image": "a.jpg",
        "label": "x",
        "ranking": [
            {"label": "x", "logit": -1.0, "distances": {"high": 2.0}},
            {"label": "y", "logit": -3.0, "distances": {"high": 4.0}},
        ],
    }
]


@pytest.fixture
def compare(tmp_path):
    """Compare the answers with changed ones: compare(change, limit)."""

    def run(change, limit="1e-4"):
        other = copy.deepcopy(ANSWERS)
        change(other)
        paths = tmp_path / "a.json", tmp_path / "b.json"
        for path, answers in zip(paths, (ANSWERS, other), strict=True):
            path.write_text(json.dumps(answers))
        return HELPER["compare"](*map(str, paths), limit)

    return run


def move(answers):
    answers[0]["ranking"][1]["distances"]["high"] = 4.001


def test_equal_answers_and_small_differences_pass(compare):
    assert "0 other answers, largest relative difference 0.0e+00" in compare(lambda answers: None)
    assert "2.5e-04" in compare(move, "1e-3")


@pytest.mark.parametrize(
    "change", [move, lambda answers: answers[0].update(label="y"), lambda answers: answers.clear()]
)
def test_other_distances_labels_and_photos_are_refused(compare, change):
    with pytest.raises(SystemExit):
        compare(change)


@pytest.mark.parametrize(
    ("core", "int8", "passes"), [("cortex-a72", False, True), ("cortex-a76", True, False)]
)
def test_a_self_test_of_another_core_is_refused(tmp_path, core, int8, passes):
    cpu = {"architecture": "aarch64", "model": "Cortex-A72", "features": ["NEON"]}
    path = tmp_path / "selftest.json"
    device = {"cpu": cpu, "int8": int8, "choice": {"variant": "fp32"}}
    path.write_text(json.dumps({"works": True, "device": device, "parts": []}))
    if passes:
        assert "Cortex-A72, auto takes fp32" in HELPER["selftest"](str(path), core)
    else:
        with pytest.raises(SystemExit):
            HELPER["selftest"](str(path), core)


def test_the_limits_that_the_script_raises_are_those_of_the_self_test():
    """A name that is gone would raise nothing, and the parts would end at the old limit."""
    code = SCRIPT.read_text().split("selftest='")[1].split("'\n")[0].removesuffix("sys.exit(main())")
    before = (selftest._MAX_PART_SECONDS, selftest.MAX_SECONDS)
    timeout = run_probe.__kwdefaults__["timeout"]
    try:
        exec(code, {})
        assert selftest._MAX_PART_SECONDS == run_probe.__kwdefaults__["timeout"] == 900
        waited = []
        selftest._Deadline(
            selftest.MAX_SECONDS, lambda *_, timeout, **__: waited.append(timeout) or {}, {}
        ).run("a")
        assert waited == [900]
    finally:
        selftest._MAX_PART_SECONDS, selftest.MAX_SECONDS = before
        run_probe.__kwdefaults__["timeout"] = timeout
