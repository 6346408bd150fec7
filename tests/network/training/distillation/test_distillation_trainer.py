from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from tiny_distillation import CONFIG, random_guide, student, trainer

from hmdrn_network.training.distillation.guide import Guide
from hmdrn_network.training.distillation.trainer import answer_distance
from hmdrn_runtime.errors import TrainingError


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("at", [1, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 4))])
def test_a_restored_run_continues_bit_for_bit(at):
    whole = trainer()
    losses = [p.loss for p in whole.run()]
    first = trainer()
    before = [p.loss for p in first.run(at)]
    second = trainer()
    second.restore(through_a_file(first.state()))
    assert before + [p.loss for p in second.run()] == losses
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_frozen_stages_keep_their_weights_and_statistics():
    run = trainer()
    before = {name: v.clone() for name, v in run.student.backbone.state_dict().items()}
    list(run.run())
    after = run.student.backbone.state_dict()
    frozen = ("stem.", *(f"blocks.{i}." for i in range(5)))
    assert all(torch.equal(v, after[n]) for n, v in before.items() if n.startswith(frozen))
    assert any(not torch.equal(v, after[n]) for n, v in before.items() if n.startswith("blocks.15."))


def test_more_stages_stay_as_they_are_in_episodes():
    run = trainer()
    list(run.run(3))
    before = {name: v.clone() for name, v in run.network.backbone.state_dict().items()}
    list(run.run())
    after = run.student.backbone.state_dict()
    later = ("blocks.11.", "blocks.12.", "blocks.13.", "blocks.14.", "blocks.15.")
    assert all(torch.equal(v, after[n]) for n, v in before.items() if not n.startswith(later))
    assert all(
        not torch.equal(v, after[n]) for n, v in before.items() if n.startswith(later) and v.dim() == 4
    )


def test_statistics_move_with_classes_and_stand_still_in_episodes():
    run = trainer()
    name = "projections.high.norm.running_mean"
    start = run.student.state_dict()[name].clone()
    list(run.run(3))
    classes = run.student.state_dict()[name].clone()
    assert not torch.equal(start, classes)
    average = run.network.state_dict()[name].clone()
    list(run.run())
    assert torch.equal(average, run.student.state_dict()[name]), "the second phase starts from the average"


def test_the_average_lags_behind_the_student():
    run = trainer(dataclasses.replace(CONFIG, averaging=0.5))
    name = "projections.mid.conv.weight"
    values = [run.student.state_dict()[name].clone()]
    for _ in run.run(2):
        values.append(run.student.state_dict()[name].clone())
    expected = values[0]
    for step, value in enumerate(values[1:], start=1):
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(run.network.state_dict()[name], expected)


def test_later_stages_move_faster_than_earlier_ones():
    run = trainer()
    factors = {id(p): g["factor"] for g in run.optimizer.param_groups for p in g["params"]}
    stages = run.student.backbone.stages
    by_stage = [factors[id(next(stage.parameters()))] for stage in stages[CONFIG.frozen_stages :]]
    assert by_stage == sorted(by_stage)
    assert by_stage[-1] == CONFIG.backbone_rate
    assert factors[id(run.student.projections["high"].conv.weight)] == 1.0
    assert not any(id(p) in factors for stage in stages[: CONFIG.frozen_stages] for p in stage.parameters())


@pytest.mark.slow
def test_a_few_steps_learn_the_classes():
    config = dataclasses.replace(CONFIG, pretrain_steps=25, pretrain_batch=32, warmup=5)
    accuracies = [p.accuracy for p in trainer(config).run(25)]
    assert sum(accuracies[-5:]) / 5 > sum(accuracies[:5]) / 5 + 0.3


EPISODES_ALONE = dataclasses.replace(
    CONFIG, pretrain_steps=0, episodes=8, class_weight=0.0, episode_teacher_weight=0.0, episode_weight=0.0
)


def test_a_student_that_is_its_own_guide_has_nothing_to_learn_from_it():
    config = dataclasses.replace(EPISODES_ALONE, flip=False)
    (first, *_) = trainer(config, Guide(student(), "", {"high": 1, "mid": 2})).run(1)
    assert first.loss == pytest.approx(0, abs=1e-4)


def test_the_guides_loss_is_that_of_the_network_itself_on_the_episode():
    guide = random_guide()
    config = dataclasses.replace(EPISODES_ALONE, flip=False, guide_weight=0.7, guide_map_weight=0.2)
    run = trainer(config, guide)
    run._set_mode()
    loss = run._compute_loss(np.random.default_rng(3))[0].item()
    episode = run.sampler.draw_episode(np.random.default_rng(3))
    with torch.inference_mode():
        ours, theirs = (
            network.project(network.backbone(episode.batch.maps, CONFIG.frozen_stages))
            for network in (run.student, guide.network)
        )
        logits, answers = (
            network.compare_episode(maps, episode.way, episode.shot)[0]
            for network, maps in ((run.student, ours), (guide.network, theirs))
        )
    expected = 0.7 * answer_distance(logits, answers)
    for name, maps in theirs.items():
        expected += 0.2 * (ours[name] - maps).square().mean() / maps.square().mean()
    assert loss == pytest.approx(expected.item(), rel=2e-3)


def test_a_guided_student_comes_closer_to_its_guide_and_continues_bit_for_bit():
    guide = random_guide()
    config = dataclasses.replace(EPISODES_ALONE, episodes=2, learning_rate=0.05)
    whole = trainer(config, guide)
    weights = {name: value.clone() for name, value in guide.state_dict().items()}

    def distance() -> float:
        return whole._compute_loss(np.random.default_rng(3))[0].item()

    before = distance()
    losses = [progress.loss for progress in whole.run()]
    assert distance() < 0.97 * before
    assert all(torch.equal(value, guide.state_dict()[name]) for name, value in weights.items())
    first, second = trainer(config, guide), trainer(config, guide)
    list(first.run(1))
    second.restore(through_a_file(first.state()))
    assert [progress.loss for progress in second.run()] == losses[1:]


def test_other_settings_are_refused_by_name():
    run = trainer()
    other = trainer(dataclasses.replace(CONFIG, way=4))
    with pytest.raises(TrainingError, match="way 4 instead of 3"):
        other.restore(run.state())
