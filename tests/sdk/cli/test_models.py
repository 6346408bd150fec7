from __future__ import annotations

import json
from pathlib import Path

CONV4 = Path(__file__).parents[3] / "weights" / "conv4.safetensors"


def test_models_are_shown_with_their_accuracy_and_work(hmdrn):
    outcome = hmdrn("models", "default", CONV4)
    assert outcome.code == 0
    assert "5-way 1-shot 63.9 %" in outcome.out
    assert "million per photo" in outcome.out
    assert "Apache-2.0" in outcome.out


def test_models_as_json(hmdrn):
    values = json.loads(hmdrn("models", CONV4, "--json").out)
    [model] = values["models"]
    assert values["schema"] == "hmdrn.models/1"
    assert (model["name"], model["path"], model["multiply_adds"]) == ("conv4", str(CONV4), None)
    assert {"data": "dogs", "way": 5, "shot": 1, "accuracy": 46.22, "ci95": None} in model["accuracy"]
