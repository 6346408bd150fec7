from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import BIRDS, CONFIG, assert_equal_weights, changed, group, losses, through_a_file, trainer

from hmdrn_network.backbones.conv4 import Conv4
from hmdrn_network.backbones.dropblock import DropBlock
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training import trainer as training
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.trainer import Trainer
from hmdrn_runtime.errors import TrainingError


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[HMDRN, list[float]]:
    """The run of CONFIG on BIRDS in one go: its network, which no test may change, and its losses."""
    run = trainer()
    done = losses(run.run())
    return run.network.eval(), done


# The same run again


@pytest.mark.parametrize(("head", "amp"), [("ridge", False), ("attention", True)])
def test_the_same_seed_gives_identical_losses_and_weights(head, amp):
    config, network = changed(amp=amp), NetworkConfig("conv4", head)
    first, again = trainer(config, network=network), trainer(config, network=network)
    assert losses(first.run()) == losses(again.run())
    assert_equal_weights(first.network, again.network)


def test_another_seed_gives_other_losses(uninterrupted):
    other = losses(trainer(changed(seed=6)).run())
    assert not set(other) & set(uninterrupted[1])


class DroppingConv4(Conv4):
    """Conv-4 that draws from torch's global generator while training, as ResNet-12 does."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = DropBlock(0.2)

    def forward(self, images: torch.Tensor) -> dict[Any, torch.Tensor]:
        return {name: self.drop(m) for name, m in super().forward(images).items()}


def test_training_does_not_depend_on_the_global_generators_once_it_runs():
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        network = HMDRN(NetworkConfig())
        network.backbone = DroppingConv4()
        runs.append(Trainer(network, [BIRDS], CONFIG))
    first, again = runs
    expected = losses(first.run())
    steps: list[float] = []
    for _ in range(4):
        torch.manual_seed(len(steps))
        np.random.seed(len(steps))
        steps += losses(again.run(again.step + 1))
    assert steps == expected
    assert_equal_weights(again.network, first.network)


def test_all_that_is_random_depends_on_the_seed_and_the_step_alone():
    # As TrainingConfig.seed states: two trainers of equal networks and settings, made at different
    # moments of the global generator.
    runs = []
    for drawn in (0, 1):
        torch.manual_seed(0)
        network = HMDRN(NetworkConfig())
        torch.rand(drawn)
        runs.append(losses(Trainer(network, [BIRDS], CONFIG).run()))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
def test_a_restored_run_continues_as_if_never_stopped(cut, uninterrupted):
    # Before, within and between the phases (two steps each), and at the end.
    whole, expected = uninterrupted
    first = trainer()
    start = losses(first.run(cut))
    state = through_a_file(first.state())
    second = trainer(seed=99)  # other weights, to be replaced
    second.restore(state)
    assert second.step == cut
    assert start + losses(second.run()) == expected
    assert_equal_weights(second.network, whole)


def test_a_saved_state_holds_the_settings():
    state = through_a_file(trainer().state())
    assert state["config"] == dataclasses.asdict(CONFIG)
    with pytest.raises(TrainingError, match="other settings"):
        trainer(changed(learning_rate=0.5)).restore(state)


@pytest.mark.slow
def test_a_resnet12_with_dropblock_is_restored_too():
    config = changed(pretrain_steps=0, episodes=2, max_shot=1)
    network = NetworkConfig("resnet12")
    whole = trainer(config, network=network)
    list(whole.run(1))
    state = through_a_file(whole.state())
    second = trainer(config, network=network, seed=99)
    second.restore(state)
    torch.manual_seed(3)
    assert losses(whole.run()) == losses(second.run())
    assert_equal_weights(second.network, whole.network)


# What a step does


def test_progress_counts_the_steps_of_each_phase():
    run = trainer()
    assert run.steps == 4
    reports = list(run.run())
    assert [(p.phase, p.step, p.steps) for p in reports] == [
        ("classes", 1, 2),
        ("classes", 2, 2),
        ("episodes", 1, 2),
        ("episodes", 2, 2),
    ]
    assert all(math.isfinite(p.loss) and p.loss >= 0 and 0 <= p.accuracy <= 1 for p in reports)
    assert list(run.run()) == []


def test_a_run_can_be_stopped_at_a_step():
    run = trainer()
    assert len(list(run.run(3))) == 3
    assert run.step == 3
    assert list(run.run(2)) == []


def test_the_learning_rate_warms_up_and_falls_by_a_cosine_in_each_phase():
    config = changed(pretrain_steps=3, episodes=4, warmup=2, pretrain_learning_rate=0.2, learning_rate=0.1)
    run, rates = trainer(config), []
    for _ in run.run():
        rates.append({entry["lr"] for entry in run.optimizer.param_groups})
    expected = [0.2 * 0.5 * (1 + math.cos(math.pi * i / 3)) * min(1, (i + 1) / 2) for i in range(3)]
    expected += [0.1 * 0.5 * (1 + math.cos(math.pi * i / 4)) * min(1, (i + 1) / 2) for i in range(4)]
    assert [rate.pop() for rate in rates] == pytest.approx(expected, rel=1e-12)
    assert not any(rates)


def test_every_parameter_is_trained_and_matrices_alone_decay():
    run = trainer()
    parameters = [*run.network.parameters(), *run.classifier.parameters()]
    groups = run.optimizer.param_groups
    moved = [p for entry in groups for p in entry["params"]]
    assert {id(p) for p in parameters} == {id(p) for p in moved}
    assert len(parameters) == len(moved)
    for entry in groups:
        matrices = {p.dim() > 1 for p in entry["params"]}
        assert len(matrices) == 1
        assert entry["weight_decay"] == (CONFIG.weight_decay if matrices.pop() else 0)


def test_a_pretrained_backbone_moves_at_a_rate_of_its_own():
    run = trainer(changed(backbone_rate=0.25))
    in_backbone = {id(p) for p in run.network.backbone.parameters()}
    list(run.run(1))
    rates = {(id(p) in in_backbone): g["lr"] for g in run.optimizer.param_groups for p in g["params"]}
    assert rates[True] == pytest.approx(0.25 * rates[False])


def test_pretraining_leaves_transformers_and_episodes_the_classifier_alone():
    run = trainer()
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    list(run.run(2))
    after = {name: value.clone() for name, value in run.network.state_dict().items()}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("backbone.") for name in moved)
    classifier = run.classifier.weight.clone()
    list(run.run())
    assert torch.equal(run.classifier.weight, classifier)
    parameters = dict(run.network.named_parameters())
    assert all(not torch.equal(parameters[name], after[name]) for name in parameters)
    # The momentum of the first phase is gone with its optimizer.
    assert run.classifier.weight not in run.optimizer.state


def test_a_network_of_one_level_is_trained():
    for level in ("high", "mid"):
        run = trainer(network=NetworkConfig("conv4", "ridge", (level,)))
        assert all(math.isfinite(loss) for loss in losses(run.run()))


def tagged(name: str, number: int, *sizes: int) -> PhotoGroup:
    """Photos (84, 84) that say of which group and class they are, and which photo of it."""
    whole = group(*sizes, name=name, side=84, seed=number)
    for label, members in enumerate(whole.classes):
        for photo, index in enumerate(members):
            whole.images[index, 0, 0] = torch.tensor([number, label, photo], dtype=torch.uint8)
    return whole


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, ...]]]:
    """The tags of the photos of every batch; augmentation and the backbone are left out."""
    batches: list[list[tuple[int, ...]]] = []

    def record(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        assert size == 84
        batches.append([tuple(tag) for tag in images[:, 0, 0].tolist()])
        return images.float()

    def features(network: HMDRN, images: torch.Tensor) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(len(batches))
        return {
            level.name: torch.randn(len(images), level.channels, *sides[level.name], generator=generator)
            for level in network.config.level_specs
        }

    sides = {"high": (5, 5), "mid": (10, 10)}
    monkeypatch.setattr(training, "augment", record)
    monkeypatch.setattr(HMDRN, "features", features)
    return batches


def test_an_episode_is_of_one_group_and_no_photo_is_both_shot_and_query(seen):
    groups = (tagged("a", 1, 9, 9, 9, 9), tagged("b", 2, 4, 7, 9))
    config = changed(pretrain_steps=0, episodes=20, way=3, max_shot=3, queries=4)
    list(trainer(config, groups).run())
    shots_drawn, groups_drawn = set(), set()
    for batch in seen:
        assert len({tag[0] for tag in batch}) == 1
        assert len(set(batch)) == len(batch)
        shots = len(list(next(itertools.groupby(batch, key=lambda tag: tag[1]))[1]))
        labels = [tag[1] for tag in batch[: 3 * shots : shots]]
        assert len(set(labels)) == 3
        assert [tag[1] for tag in batch[: 3 * shots]] == [c for c in labels for _ in range(shots)]
        queries = [tag[1] for tag in batch[3 * shots :]]
        sizes = (9, 9, 9, 9) if batch[0][0] == 1 else (4, 7, 9)
        assert queries == [c for c in labels for _ in range(min(4, sizes[c] - shots))]
        shots_drawn.add(shots)
        groups_drawn.add(batch[0][0])
    assert shots_drawn == {1, 2, 3}
    assert groups_drawn == {1, 2}


def test_an_episode_has_as_many_classes_as_its_group_can_give(seen):
    # Classes of 2 and 3 photos: with 1 shot all three serve, with 3 shots those of 5 alone.
    config = changed(pretrain_steps=0, episodes=12, way=9, max_shot=3, queries=2)
    list(trainer(config, (tagged("a", 1, 2, 5, 3, 5),)).run())
    classes = {len({tag[1] for tag in batch}) for batch in seen}
    assert classes == {2, 3, 4}


def test_groups_are_drawn_by_their_number_of_classes(seen):
    config = changed(pretrain_steps=0, episodes=40, way=2, max_shot=1, queries=1)
    list(trainer(config, (tagged("a", 1, *[2] * 9), tagged("b", 2, 2, 2, 2))).run())
    share = sum(batch[0][0] == 1 for batch in seen) / len(seen)
    assert 0.6 < share < 0.9  # 9 of 12, where groups alike would give 0.5


def test_pretraining_sees_the_classes_of_all_groups(seen):
    config = changed(pretrain_steps=6, pretrain_batch=30, episodes=0)
    list(trainer(config, (tagged("a", 1, 4, 4), tagged("b", 2, 4, 4, 4))).run())
    assert {len(batch) for batch in seen} == {30}
    assert {tag[:2] for batch in seen for tag in batch} == {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}


def test_every_class_of_every_group_is_a_target_of_its_own(seen, monkeypatch):
    targets = []

    def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        assert logits.shape == (30, 5)
        targets.append(target.tolist())
        return logits.square().sum()

    monkeypatch.setattr(training.F, "cross_entropy", cross_entropy)
    config = changed(pretrain_steps=4, pretrain_batch=30, episodes=0)
    list(trainer(config, (tagged("a", 1, 4, 4), tagged("b", 2, 4, 4, 4))).run())
    pairs = {
        (tag[:2], t)
        for batch, ts in zip(seen, targets, strict=True)
        for tag, t in zip(batch, ts, strict=True)
    }
    assert sorted(pairs) == [((1, 0), 0), ((1, 1), 1), ((2, 0), 2), ((2, 1), 3), ((2, 2), 4)]


def test_targets_of_an_episode_are_the_places_of_the_querys_classes(seen, monkeypatch):
    targets = []

    def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        targets.append(target.tolist())
        return logits.square().sum()

    monkeypatch.setattr(training.F, "cross_entropy", cross_entropy)
    config = changed(pretrain_steps=0, episodes=6, way=3, max_shot=1, queries=2)
    list(trainer(config, (tagged("a", 1, 3, 3, 3, 3),)).run())
    for batch, target in zip(seen, targets, strict=True):
        places = [tag[1] for tag in batch[:3]]
        assert target == [places.index(tag[1]) for tag in batch[3:]]


def test_gradients_are_clipped_to_a_norm_of_five():
    run = trainer(changed(pretrain_steps=0, episodes=1))
    with torch.no_grad():
        run.network.fusion.scale.fill_(1e4)
    list(run.run())
    gradients = [p.grad for p in run.network.parameters() if p.grad is not None]
    assert float(torch.stack([g.norm() for g in gradients]).norm()) == pytest.approx(5.0, rel=1e-3)


def stripes(photos: int) -> PhotoGroup:
    """Three classes that a look tells apart: upright stripes, lying stripes, a plain ground."""
    line = 60 + 120.0 * (torch.arange(88) // 4 % 2)
    plain = torch.full((88, 88), 120.0)
    drawn = torch.stack([line.expand(88, 88), line[:, None].expand(88, 88), plain])
    images = drawn[:, None, :, :, None].expand(3, photos, 88, 88, 3).reshape(-1, 88, 88, 3)
    noise = 20 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return PhotoGroup("stripes", (images + noise).to(torch.uint8), torch.arange(3 * photos).split(photos))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_the_loss_falls_on_an_easy_task(head):
    config = changed(pretrain_steps=0, episodes=16, way=3, max_shot=1, queries=2, learning_rate=0.01)
    network = NetworkConfig("conv4", head)
    trained = list(trainer(config, (stripes(5),), network).run())
    # Some episodes are easier than others: the last ones again, of a network that has learned nothing.
    untrained = trainer(dataclasses.replace(config, learning_rate=0.0), (stripes(5),), network)
    untrained.step = 12
    late, late_idle = (np.mean(losses(iter(steps))) for steps in (trained[12:], untrained.run()))
    assert late < 0.2 * late_idle
    assert late < 0.2 * trained[0].loss
    assert np.mean([p.accuracy for p in trained[-4:]]) > 0.9


def test_the_loss_falls_in_pretraining():
    config = changed(pretrain_steps=12, pretrain_batch=12, episodes=0, pretrain_learning_rate=0.05)
    reports = list(trainer(config, (stripes(5),)).run())
    # A guess among three classes costs log 3.
    assert reports[0].loss > 0.8 * math.log(3)
    assert np.mean([p.loss for p in reports[-4:]]) < 0.3 * math.log(3)


# Errors


@pytest.mark.parametrize("sizes", [(2, 2, 2), (3, 2, 2), (9,)])
def test_too_few_photos_are_refused_by_the_groups_name(sizes):
    with pytest.raises(
        TrainingError, match="group 'finches' has fewer than 2 classes with more than 2 photos"
    ):
        trainer(groups=(BIRDS, group(*sizes, name="finches")))


def test_two_classes_with_one_photo_more_than_the_shots_suffice():
    assert len(losses(trainer(changed(pretrain_steps=0), (group(3, 3),)).run())) == 2


def test_a_loss_that_is_not_finite_is_named_with_its_step():
    run = trainer(changed(pretrain_learning_rate=1e30))
    with pytest.raises(TrainingError, match="not finite at step 1: lower the learning rate"):
        list(run.run())


def test_a_run_without_groups_is_refused():
    with pytest.raises(TrainingError):
        list(trainer(groups=()).run())


@pytest.mark.parametrize(
    "settings", [{"warmup": 0}, {"max_shot": 0}, {"queries": 0}, {"pretrain_batch": 0}], ids=str
)
def test_a_setting_of_zero_is_either_refused_or_works(settings):
    try:
        done = losses(trainer(changed(**settings)).run())
    except TrainingError:
        return
    assert len(done) == 4


def test_a_class_without_photos_is_refused_or_passed_over():
    empty = PhotoGroup("birds", BIRDS.images, (*BIRDS.classes, torch.zeros(0, dtype=torch.int64)))
    try:
        done = losses(trainer(changed(pretrain_batch=16), (empty,)).run())
    except TrainingError:
        return
    assert len(done) == 4
