from __future__ import annotations

import json
from pathlib import Path

import pytest

import hmdrn
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.backends.stored_profile import save_profile
from hmdrn_runtime.bundle.bundle import CHECKPOINT
from hmdrn_runtime.errors import HmdrnError

CONV4 = Path(__file__).parents[2] / "weights" / "conv4.safetensors"


def test_the_packages_model_comes_first_then_the_checkouts_checkpoints():
    default, *others = hmdrn.list_models()
    assert (default.name, default.kind, default.path) == ("default", "bundle", resolve_bundle("default"))
    assert {model.path for model in others} == set(CONV4.parent.glob("*.safetensors"))
    assert {model.kind for model in others} == {"checkpoint"}


def test_a_models_facts_are_those_of_its_files():
    [default] = hmdrn.list_models(["default"])
    manifest = hmdrn.open_bundle(default.path).manifest
    assert (default.side, default.backbone) == (manifest.input.size, manifest.network.backbone)
    assert default.bytes > (default.path / CHECKPOINT).stat().st_size
    assert 100e6 < default.multiply_adds < 1000e6
    assert all(0 < entry.accuracy < 100 and entry.way > 1 for entry in default.accuracy)
    [conv4] = hmdrn.list_models([CONV4])
    assert (conv4.name, conv4.side, conv4.bytes) == ("conv4", 84, CONV4.stat().st_size)
    expected = hmdrn.ModelAccuracy("butterflies", 5, 1, 76.85)
    assert expected in conv4.accuracy


def test_the_time_is_that_of_the_models_profile(tmp_path):
    profile = tmp_path / "profile.json"
    stages = {"jpeg": {"total": {"p50": 9.0}}, "frame": {"total": {"p50": 4.5}}}
    profile.write_text(json.dumps({"bundle": "default", "stages": stages}))
    default, conv4 = hmdrn.list_models(["default", CONV4], [profile])
    assert (default.milliseconds, conv4.milliseconds) == (4.5, None)


def test_without_a_profile_the_time_is_the_stored_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    save_profile(hmdrn.open_bundle(resolve_bundle("default")), "onnxruntime", {"fp32": 7.5})
    [default] = hmdrn.list_models(["default"])
    assert default.milliseconds == 7.5


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"bundle": "default", "stages": {}}'])
def test_what_is_no_profile_is_refused(content, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(HmdrnError, match="not a profile"):
        hmdrn.list_models(["default"], [path])


def test_what_is_no_model_is_refused(tmp_path):
    for path in (tmp_path / "none", Path(__file__)):
        with pytest.raises(HmdrnError, match="neither a bundle nor a checkpoint"):
            hmdrn.list_models([path])


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(CONV4.read_bytes()[:5000])
    with pytest.raises(HmdrnError, match="damaged checkpoint"):
        hmdrn.list_models([path])
