from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import BIRDS, CARD, CONFIG, assert_equal_weights, changed, group, losses, trainer

from hmdrn_network.checkpoints import canonical_weights, load_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.base_trainer import Progress
from hmdrn_network.training.listener import Listener
from hmdrn_network.training.run import train
from hmdrn_runtime.errors import TrainingError


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[HMDRN, list[float]]:
    """The run of CONFIG on BIRDS in one go: its network, which no test may change, and its losses."""
    run = trainer()
    done = losses(run.run())
    return run.network.eval(), done


class StoppedError(Exception):
    """Ends a run early."""


def stop_at(step: int) -> Any:
    def report(progress: Progress) -> None:
        if (progress.phase == "classes", progress.step) == (step <= 2, (step - 1) % 2 + 1):
            raise StoppedError

    return report


class RecordingListener(Listener):
    """Records the losses, and calls a function for every step."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self.report = report
        self.losses: list[float] = []

    def on_step(self, progress: Progress, step: int, steps: int) -> None:
        self.report(progress)
        self.losses.append(progress.loss)


def run_in(
    folder: Path, report: Callable[[Progress], None] = lambda _: None, **changes: Any
) -> tuple[HMDRN, list[float]]:
    listener = RecordingListener(report)
    arguments = {"network": NetworkConfig(), "groups": [BIRDS], "config": CONFIG, "listener": listener}
    network = train(folder=folder, card=CARD, **(arguments | changes))
    return network, listener.losses


def test_a_finished_run_leaves_a_checkpoint_and_its_state(tmp_path):
    network, done = run_in(tmp_path / "new" / "run")
    assert len(done) == 4
    assert sorted(p.name for p in (tmp_path / "new" / "run").iterdir()) == [
        "history.json",
        "model.safetensors",
        "pretrained.safetensors",
        "state.pt",
    ]
    assert not network.training
    loaded = load_checkpoint(tmp_path / "new" / "run" / "model.safetensors")
    recipe = {**CARD.recipe, "training": dataclasses.asdict(CONFIG), "steps_done": 4, "finished": True}
    assert loaded.card == dataclasses.replace(CARD, recipe=recipe)
    ours, theirs = canonical_weights(network), canonical_weights(loaded.network)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_stopped_run_continues_where_it_stopped(tmp_path, step, uninterrupted):
    whole, expected = uninterrupted
    with pytest.raises(StoppedError):
        run_in(tmp_path / "parts", report=stop_at(step))
    assert load_checkpoint(tmp_path / "parts" / "model.safetensors").network.config == NetworkConfig()
    torch.manual_seed(1234)
    resumed, rest = run_in(tmp_path / "parts")
    assert rest == expected[step:]
    assert_equal_weights(resumed, whole)


def test_an_interrupt_within_a_step_leaves_no_trace(tmp_path, monkeypatch, uninterrupted):
    # Where Ctrl-C nearly always lands: after the batch has gone through, before the weights move.
    whole, expected = uninterrupted
    clip, calls = torch.nn.utils.clip_grad_norm_, []

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return clip(*args)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path / "parts")
    resumed, rest = run_in(tmp_path / "parts")
    assert rest == expected[-len(rest) :]
    assert_equal_weights(resumed, whole)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, _ = run_in(tmp_path)
    again, done = run_in(tmp_path)
    assert done == []
    assert_equal_weights(again, first)


def test_the_seed_is_that_of_the_weights_too(tmp_path, uninterrupted):
    torch.manual_seed(1)
    network, done = run_in(tmp_path)
    assert done == uninterrupted[1]
    assert_equal_weights(network, uninterrupted[0])


def test_the_state_is_saved_while_training(tmp_path):
    states = []

    def report(_: Progress) -> None:
        if (tmp_path / "state.pt").exists():
            states.append(torch.load(tmp_path / "state.pt", weights_only=True)["step"])

    run_in(tmp_path, report=report, save_interval=0.0)
    # Reported before it is saved: the state seen is that of the step before.
    assert states == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_written_fails_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("no folder")
    done: list[Progress] = []
    with pytest.raises(TrainingError, match=f"cannot write to {tmp_path / 'file'}"):
        run_in(tmp_path / "file", report=done.append)
    assert done == []


def test_other_settings_than_those_of_the_folder_are_refused(tmp_path):
    run_in(tmp_path, config=changed(pretrain_steps=0, episodes=1))
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(TrainingError, match="other settings"):
        run_in(tmp_path, config=changed(pretrain_steps=0, episodes=2))
    assert (tmp_path / "state.pt").read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [{"network": NetworkConfig("conv4", "attention")}, {"groups": [group(4, 4)]}],
    ids=["network", "groups"],
)
def test_another_network_or_other_classes_than_the_folders_are_refused(tmp_path, changes):
    config = changed(pretrain_steps=0, episodes=1)
    run_in(tmp_path, config=config)
    with pytest.raises(TrainingError):
        run_in(tmp_path, config=config, **changes)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_state_is_refused(tmp_path, share):
    config = changed(pretrain_steps=0, episodes=1)
    run_in(tmp_path, config=config)
    data = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(TrainingError):
        run_in(tmp_path, config=config)


def test_an_unfinished_run_says_so_in_its_checkpoint(tmp_path):
    with pytest.raises(StoppedError):
        run_in(tmp_path, report=stop_at(3))
    recipe = load_checkpoint(tmp_path / "model.safetensors").card.recipe
    assert (recipe["steps_done"], recipe["finished"]) == (3, False)


def test_other_photos_than_those_of_the_folder_are_refused_by_their_record(tmp_path):
    config = changed(pretrain_steps=0, episodes=1)
    run_in(tmp_path, config=config)
    card = dataclasses.replace(CARD, recipe={"data": "others"})
    with pytest.raises(TrainingError, match="other photos or other splits"):
        train(NetworkConfig(), [BIRDS], config, tmp_path, card)


def test_the_network_before_the_episodes_is_saved(tmp_path, uninterrupted):
    run_in(tmp_path)
    half = trainer()
    losses(half.run(CONFIG.pretrain_steps))
    pretrained = load_checkpoint(tmp_path / "pretrained.safetensors")
    ours, theirs = canonical_weights(half.network), canonical_weights(pretrained.network)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert pretrained.card.recipe["finished"] is False


# Validation


class Scripted:
    """Stands in for a validation: returns the given accuracies in turn, one or one for each episode."""

    def __init__(self, *accuracies: float | list[float]) -> None:
        self.accuracies = [np.atleast_1d(np.asarray(a, np.float64)) for a in accuracies]
        self.measured = 0

    def measure(self, network: HMDRN) -> dict[str, Any]:
        self.measured += 1
        return {"birds": self.accuracies[self.measured - 1]}


VALIDATED = changed(pretrain_steps=1, episodes=3, validate_every=1)


class ValidationListener(RecordingListener):
    """Records the validations."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.validations: list[tuple[Mapping[str, float], bool]] = []

    def on_validation(self, accuracies: Mapping[str, float], best: bool) -> None:
        self.validations.append((accuracies, best))


def test_the_best_weights_on_validation_are_saved_with_their_accuracies(tmp_path):
    listener = ValidationListener()
    network, _ = run_in(tmp_path, config=VALIDATED, validation=Scripted(60, 80, 70), listener=listener)
    assert listener.validations == [({"birds": 60}, True), ({"birds": 80}, True), ({"birds": 70}, False)]
    until_best = trainer(VALIDATED)
    losses(until_best.run(1 + 2))
    assert_equal_weights(network, until_best.network)
    card = load_checkpoint(tmp_path / "model.safetensors").card
    assert card.metrics == {"val birds": 80}
    steps = [v["step"] for v in json.loads((tmp_path / "history.json").read_text())["validations"]]
    assert steps == [2, 3, 4]


def test_training_stops_when_validation_has_not_gained_for_long(tmp_path):
    config = changed(pretrain_steps=0, episodes=6, validate_every=1, patience=2)
    _, done = run_in(tmp_path, config=config, validation=Scripted(50, 60, 55, 59))
    assert len(done) == 4
    assert load_checkpoint(tmp_path / "model.safetensors").card.recipe["finished"] is True


def test_a_run_that_was_stopped_after_a_validation_remembers_it(tmp_path):
    whole, _ = run_in(tmp_path / "whole", config=VALIDATED, validation=Scripted(60, 80, 70))

    def stop(progress: Progress) -> None:
        if (progress.phase, progress.step) == ("episodes", 3):
            raise StoppedError

    with pytest.raises(StoppedError):
        run_in(tmp_path / "parts", stop, config=VALIDATED, validation=Scripted(60, 80))
    resumed, _ = run_in(tmp_path / "parts", config=VALIDATED, validation=Scripted(70))
    assert_equal_weights(resumed, whole)


def test_a_run_has_at_least_five_validations(tmp_path):
    config = changed(pretrain_steps=0, episodes=11, validate_every=500)
    assert config.validation_interval == 3
    assert changed(episodes=3, validate_every=500).validation_interval == 1
    assert changed(episodes=1000, validate_every=50).validation_interval == 50


# Starting from weights


def start_network() -> HMDRN:
    torch.manual_seed(7)
    return HMDRN(NetworkConfig())


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        pytest.param([50.0, 60, 70, 80], True, id="a later network that is no better"),
        pytest.param([90.0, 20, 75, 90], True, id="a lead within its interval"),
        pytest.param([56.0, 64, 76, 84], False, id="a lead beyond its interval"),
    ],
)
def test_the_start_is_kept_unless_a_later_network_leads_for_sure(tmp_path, later, kept):
    start, config = start_network(), changed(pretrain_steps=0, episodes=1)
    validation = Scripted([50.0, 60, 70, 80], later)
    network, _ = run_in(tmp_path, config=config, start=start, keep_start=True, validation=validation)
    same = all(torch.equal(a, b) for a, b in zip(network.parameters(), start.parameters(), strict=True))
    assert same is kept
    metrics = load_checkpoint(tmp_path / "model.safetensors").card.metrics
    assert metrics == {"val birds": 65 if kept else 70}


def test_a_resumed_run_does_not_measure_its_start_again(tmp_path):
    start, config = start_network(), changed(pretrain_steps=0, episodes=2)

    def stop(progress: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run_in(tmp_path, stop, config=config, start=start, keep_start=True, validation=Scripted(90))
    network, _ = run_in(tmp_path, config=config, start=start, keep_start=True, validation=Scripted(70, 80))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), start.parameters(), strict=True))


def test_a_run_can_start_from_another_networks_weights(tmp_path):
    torch.manual_seed(0)
    start = HMDRN(NetworkConfig("conv4", "attention"))
    config = changed(pretrain_steps=0, episodes=1, learning_rate=0.0)
    network, _ = run_in(tmp_path, config=config, start=start)
    ours, theirs = dict(network.named_parameters()), dict(start.named_parameters())
    taken = [name for name in ours if name in theirs and not name.startswith("heads")]
    assert any(name.startswith("transformers") for name in taken)
    assert all(torch.equal(ours[name], theirs[name]) for name in taken)


def test_weights_of_another_backbone_are_refused_as_a_start(tmp_path):
    with pytest.raises(TrainingError, match="cannot start a conv4 from a resnet12"):
        run_in(tmp_path, start=HMDRN(NetworkConfig("resnet12")))
