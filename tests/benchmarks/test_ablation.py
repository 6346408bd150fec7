"""The ablation: each variant is what its name says, and a stopped run resumes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tiny_distillation
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks.ablation.__main__ import command
from benchmarks.ablation.cached import CachedExperiment
from benchmarks.ablation.experiment import Experiment
from benchmarks.ablation.summary import ALL_GROUPS, Figure, Summary
from benchmarks.ablation.variants import VARIANTS
from hmdrn_network.checkpoints import ModelCard, save_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.data import open_training_data
from hmdrn_network.training.distillation.preparation import PreparedData
from hmdrn_network.training.trainer import Trainer
from hmdrn_network.training.validation import Validation
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

WAY, SHOT, QUERIES = 3, 2, 4
CONFIG = TrainingConfig(
    pretrain_steps=2, pretrain_batch=4, episodes=3, way=2, max_shot=2, queries=1, warmup=2, seed=9
)


@pytest.fixture(scope="module")
def photos() -> tuple[torch.Tensor, torch.Tensor]:
    """Support (way, shot, 84, 84, 3) and query (B, 84, 84, 3)."""
    drawn = np.stack([i for images in draw_specimens(range(WAY), SHOT + QUERIES, size=84) for i in images])
    by_class = torch.from_numpy(drawn).unflatten(0, (WAY, SHOT + QUERIES))
    return by_class[:, :SHOT], by_class[:, SHOT:].flatten(0, 1)


@pytest.fixture(scope="module")
def specimens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "specimens"
    for s, images in enumerate(draw_specimens(range(5), 6, size=96)):
        (folder / name_species(s)).mkdir(parents=True)
        for n, image in enumerate(images):
            Image.fromarray(image).save(folder / name_species(s) / f"{n}.png")
    return folder


def build(variant: str) -> HMDRN:
    torch.manual_seed(3)
    return VARIANTS[variant].build(NetworkConfig()).requires_grad_(False).eval()


def compute_maps(network: HMDRN, images: torch.Tensor) -> dict[str, np.ndarray]:
    return {name: m.double().numpy() for name, m in network.features(images).items()}


@pytest.mark.parametrize(
    ("variant", "config"),
    [
        ("full", NetworkConfig()),
        ("high", NetworkConfig(levels=("high",))),
        ("mid", NetworkConfig(levels=("mid",))),
        ("attention", NetworkConfig(head="attention")),
        ("one-layer", NetworkConfig(transformer_layers=1)),
    ],
)
def test_variants_of_a_configuration_are_hmdrn(photos, variant, config):
    torch.manual_seed(3)
    expected = HMDRN(config).eval()
    assert type(build(variant)) is HMDRN
    assert torch.equal(build(variant)(*photos), expected(*photos))


def test_without_the_mask_queries_are_encoded_as_support_photos(photos):
    ours, full = build("no-mask"), build("full")
    query = photos[1]
    for name, tokens in ours.encode(query, masked=True).items():
        assert torch.equal(tokens, full.encode(query, masked=False)[name])
        assert not torch.equal(tokens, full.encode(query, masked=True)[name])
    assert not torch.equal(ours(*photos), full(*photos))


@pytest.mark.parametrize(("variant", "levels"), [("frn", ["high"]), ("no-transformer", ["high", "mid"])])
def test_raw_tokens_are_reconstructed_directly_by_ridge_regression(photos, variant, levels):
    network = build(variant)
    support, query = photos
    expected = np.zeros((len(query), WAY))
    for name in levels:
        for label in range(WAY):
            S = compute_maps(network, support[label])[name].transpose(0, 2, 3, 1).reshape(-1, 64)
            n, d = S.shape
            H = np.linalg.solve(S.T @ S + (n / d * np.exp(5) + 1e-6) * np.eye(d), S.T @ S)
            for b, Q in enumerate(
                compute_maps(network, query)[name].transpose(0, 2, 3, 1).reshape(-1, n // SHOT, d)
            ):
                weight = {"high": 1.0, "mid": 0.25}[name]
                expected[b, label] -= weight * np.square(Q - Q @ H).sum() * 10 / (25 * 64)
    assert set(network.config.levels) == set(levels)
    np.testing.assert_allclose(network(*photos).numpy(), expected, rtol=1e-3, atol=1e-5)
    assert not any("transformer" in name for name in network.state_dict())


def test_protonet_is_the_distance_to_the_mean_of_the_pooled_features(photos):
    network = build("protonet")
    support, query = photos
    means = np.stack([compute_maps(network, s)["high"].mean(axis=(2, 3)).mean(axis=0) for s in support])
    pooled = compute_maps(network, query)["high"].mean(axis=(2, 3))
    expected = -10 * np.square(pooled[:, None] - means[None]).mean(axis=2)
    np.testing.assert_allclose(network(*photos).numpy(), expected, rtol=1e-4, atol=1e-7)


def test_padded_photos_do_not_affect_protonet():
    network = build("protonet")
    query, support = torch.randn(4, 1, 64), torch.randn(3, 2, 64)
    padded = torch.cat([support, torch.full((3, 1, 64), 9.0)], dim=1)
    valid = torch.tensor([True, True, False]).expand(3, -1)
    torch.testing.assert_close(
        network.distances({"high": query}, {"high": padded}, {"high": valid}),
        network.distances({"high": query}, {"high": support}),
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_of_a_variant_learns(photos, variant):
    network = build(variant).requires_grad_(True).train()
    truth = torch.arange(WAY).repeat_interleave(QUERIES)
    torch.nn.functional.cross_entropy(network(*photos), truth).backward()
    idle = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    # The mid level comes out of the third of four blocks.
    assert all(variant == "mid" and name.startswith("backbone.blocks.3.") for name in idle)


@pytest.fixture
def experiment(specimens, tmp_path):
    """Make an experiment in a folder, interrupted after `stop_after` reports; later work is lost."""

    def make(folder: str = "run", stop_after: float = float("inf"), **changes) -> Experiment:
        path = tmp_path / folder
        data = open_training_data([specimens], "train", "val", 0.4, 84, path / "cache", lambda *_: None)
        validation = Validation(data.validation, shots=(1, 2), episodes=4)
        steps = 0

        def report(what: str, done: int, of: int) -> None:
            nonlocal steps
            steps += 1
            if steps > stop_after:
                raise KeyboardInterrupt

        config = dataclasses.replace(CONFIG, **changes)
        return Experiment(
            path, "conv4", data, validation, config, torch.device("cpu"), report, save_interval=0.0
        )

    return make


@pytest.fixture
def cached(tmp_path):
    """An ablation on a random Lite0 at 32 pixels, from cached maps."""
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, tiny_distillation.student(), ModelCard("start", license="Apache-2.0"))
    groups = tiny_distillation.groups()
    maps = {
        group.name: {
            label: [group.maps[0][row] for row in rows]
            for label, rows in zip(group.labels, group.classes, strict=True)
        }
        for group in groups
        if group.name == "birds"
    }
    config = dataclasses.replace(
        tiny_distillation.CONFIG, pretrain_steps=0, class_weight=0.0, episode_teacher_weight=0.0
    )
    return CachedExperiment(
        tmp_path / "run", start, PreparedData(groups, maps, {}), config, 3, lambda *_: None
    )


@pytest.mark.parametrize("variant", ["full", "one-layer", "frn", "protonet"])
def test_with_caches_a_variant_learns_all_but_the_backbone(cached, variant):
    network, start = cached.train(variant, 0), cached.start.state_dict()
    changed = {
        name.split(".")[0]
        for name, value in network.state_dict().items()
        if name in start and value.is_floating_point() and not torch.equal(value, start[name])
    }
    assert "backbone" not in changed
    assert "projections" in changed
    (one, *_) = cached.run(variant, 0)
    assert (one["group"], one["shot"], len(one["accuracies"])) == ("birds", 1, 3)


@pytest.mark.slow
def test_full_is_trained_as_an_uninterrupted_run_of_hmdrn(experiment):
    ours = experiment()
    torch.manual_seed(1)
    trainer = Trainer(HMDRN(NetworkConfig()), ours.data.groups, dataclasses.replace(CONFIG, seed=1))
    list(trainer.run())
    expected, actual = trainer.network.state_dict(), ours.train("full", 1).state_dict()
    assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []


def test_variants_start_alike_in_all_shared_weights(experiment):
    ours = experiment(episodes=0)
    full = ours.train("full", 0).state_dict()
    for variant in VARIANTS:
        start = ours.train(variant, 0).state_dict()
        assert {name for name in full if name.startswith("backbone.")} <= set(start)
        assert all(torch.equal(start[name], full[name]) for name in start if name in full), variant
    random = build("full").state_dict()
    assert not torch.equal(full["backbone.blocks.3.conv.weight"], random["backbone.blocks.3.conv.weight"])


def test_a_resumed_run_ends_like_an_uninterrupted_one(experiment):
    whole = experiment("whole").run("frn", 0)
    for steps in (1, 2, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            experiment("stopped", stop_after=steps).run("frn", 0)
    assert experiment("stopped").run("frn", 0) == whole
    # A finished variant is read: nothing is reported.
    assert experiment("stopped", stop_after=0).run("frn", 0) == whole
    assert {(one["shot"], len(one["accuracies"])) for one in whole} == {(1, 4), (2, 4)}


def test_a_folder_of_another_ablation_is_refused(experiment):
    experiment()
    experiment(seed=4)
    with pytest.raises(TrainingError, match=r"another training \(see ablation.json\)"):
        experiment(way=3)


def outcome(*accuracies: float, group: str = "birds") -> list:
    return [{"group": group, "way": 5, "shot": 1, "queries": 15, "accuracies": list(accuracies)}]


def test_differences_are_paired_by_episode_over_all_seeds():
    summary = Summary(
        {
            "full": [outcome(0.5, 0.9, 0.7), outcome(0.6, 0.8, 0.4)],
            "high": [outcome(0.4, 0.8, 0.5), outcome(0.5, 0.7, 0.3)],
            "mid": [outcome(0.6, 0.8, 0.7), outcome(0.6, 0.8, 0.4)],
        }
    )
    gain = summary.gain("high", ALL_GROUPS, 1)
    points = np.array([10, 10, 20, 10, 10, 10])
    assert gain.mean == pytest.approx(points.mean())
    assert gain.ci95 == pytest.approx(1.96 * points.std(ddof=1) / np.sqrt(6))
    assert gain.by_seed == pytest.approx((40 / 3, 10))
    assert gain.spread == pytest.approx(np.std([40 / 3, 10], ddof=1))
    verdicts = {variant: gain.verdict for _, variant, _, gain in summary.claims()}
    assert verdicts == {"high": "confirmed", "mid": "undecided"}
    assert Figure(-2.0, 1.0, (-2.0,)).verdict == "contradicted"
    assert Figure(-2.0, 1.0, (-2.0,)).spread is None


def test_all_groups_pool_the_episodes_of_each():
    both = outcome(0.5, 0.7) + outcome(0.1, 0.3, group="dogs")
    summary = Summary({"full": [both]})
    assert summary.groups == ("birds", "dogs")
    assert summary.accuracy("full", ALL_GROUPS, 1).mean == pytest.approx(40)
    assert summary.accuracy("full", "dogs", 1).mean == pytest.approx(20)


@pytest.mark.slow
def test_the_command_writes_json_markdown_and_a_figure(specimens, tmp_path):
    arguments = [str(specimens), "--output", str(tmp_path), "--seeds", "2", "--variants", "high"]
    arguments += ["--pretrain-steps", "1", "--episodes", "1", "--way", "2", "--max-shot", "2"]
    arguments += ["--queries", "1", "--eval-episodes", "3", "--val-share", "0.4", "--device", "cpu"]
    shown = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "Two levels are better than one (full against high): 1 shot" in shown.output
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["schema"] == "hmdrn.ablation/1"
    assert results["seeds"] == [0, 1]
    assert list(results["variants"]) == ["full", "high"]
    assert {len(one["accuracies"]) for one in results["episodes"]} == {3}
    assert {one["variant"] for one in results["differences"]} == {"high"}
    assert len(results["settings"]["data"][specimens.stem]["sha256"]) == 64
    page = (tmp_path / "results.md").read_text()
    assert "pre-trained once" in page
    assert "| high |" in page
    assert (tmp_path / "ablation.png").stat().st_size > 0
    again = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    printed = json.loads(again.stdout)
    assert "episodes" not in printed
    assert printed["accuracies"] == results["accuracies"]


def test_an_unknown_variant_is_named(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path), "--output", str(tmp_path), "--variants", "full,lo"])
    assert result.exit_code == 2
    assert "no variant 'lo'" in result.output
