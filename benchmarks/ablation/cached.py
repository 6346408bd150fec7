"""The ablation on one trained backbone, which stays as it is and whose first stages are cached.

python -m benchmarks.ablation.cached DATA... --start CHECKPOINT --cache FOLDER --output FOLDER

Every variant's own parts (transformers, heads, fusion) and the projections train on the same episodes;
nothing else is learned. That takes minutes a variant on a CPU, and asks what each part adds to features that
are good already. The caches are those of `hmdrn distill`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.ablation.experiment import BaseExperiment, describe_training, load_common
from benchmarks.ablation.running import make_reporter, parse_variants, publish, run_variants
from benchmarks.ablation.variants import VARIANTS
from hmdrn.cli.main import run
from hmdrn.cli.options import json_option
from hmdrn.cli.output import progress
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.training.base_trainer import BaseTrainer
from hmdrn_network.training.distillation.config import DistillationConfig
from hmdrn_network.training.distillation.preparation import PreparedData, prepare_data
from hmdrn_network.training.distillation.recipe import Recipe, load_recipe
from hmdrn_network.training.distillation.sampling import Sampler
from hmdrn_network.training.distillation.trainer import DistillationTrainer
from hmdrn_network.training.distillation.validation import CachedValidation
from hmdrn_runtime.progress import ProgressCallback


class CachedExperiment(BaseExperiment):
    """Variants on a trained backbone.

    Args:
        folder: Folder of all files.
        start: Checkpoint with the backbone and the projections.
        data: Cached groups to train on, and maps to evaluate on.
        config: Settings of the episodes; their seed is replaced by that of each run.
        eval_episodes: Episodes of each group and number of shots.
        report: Receives the progress.
    """

    def __init__(
        self,
        folder: Path,
        start: Path,
        data: PreparedData,
        config: DistillationConfig,
        eval_episodes: int,
        report: ProgressCallback,
    ) -> None:
        self.start, self.data, self.config = load_checkpoint(start).network, data, config
        identity = {
            "backbone": self.start.config.backbone,
            "start": hashlib.sha256(start.read_bytes()).hexdigest(),
            "training": describe_training(config),
            "data": dict(data.record),
        }
        validation = CachedValidation(data.validation, config.frozen_stages, episodes=eval_episodes)
        super().__init__(folder, identity, validation, report)

    def _make_trainer(self, variant: str, seed: int) -> BaseTrainer:
        torch.manual_seed(seed)
        network = VARIANTS[variant].build(self.start.config)
        common = {
            name: value
            for name, value in self.start.state_dict().items()
            if name.startswith(("backbone.", "projections."))
        }
        load_common(network, common)
        config = dataclasses.replace(self.config, seed=seed)
        trainer = DistillationTrainer(network, Sampler(self.data.groups, config), config)
        trainer.student.backbone.requires_grad_(False)
        return trainer

    def _begin_episodes(self, trainer: BaseTrainer, seed: int) -> None:
        pass  # there is no phase before


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option("--start", required=True, type=click.Path(path_type=Path), help="Checkpoint of the backbone.")
@click.option("--cache", required=True, type=click.Path(path_type=Path), help="Folder of the caches.")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the ablation."
)
@click.option("--recipe", default="default", show_default=True, help="Recipe that the caches belong to.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings of a variant.")
@click.option(
    "--variants",
    callback=parse_variants,
    default=",".join(VARIANTS),
    show_default=True,
    help="Variants to train; full is always included.",
)
@click.option("--episodes", type=click.IntRange(1), default=400, show_default=True)
@click.option("--eval-episodes", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--evaluate-on", multiple=True, help="Groups to evaluate on; all if it is not given.")
@json_option
def command(
    data: tuple[Path, ...],
    start: Path,
    cache: Path,
    output: Path,
    recipe: str,
    seeds: int,
    variants: tuple[str, ...],
    episodes: int,
    eval_episodes: int,
    evaluate_on: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare HMDRN with itself without each of its parts, on a trained backbone.

    Example: python -m benchmarks.ablation.cached birds.zip --start default.safetensors --cache C --output O
    """
    with progress() as display:
        report = make_reporter(display)
        base = load_recipe(recipe)
        prepared = prepare_data(data, _without_teachers(base, data), cache, None, report, threads=1)
        if evaluate_on:
            chosen = {name: prepared.validation[name] for name in evaluate_on}
            prepared = dataclasses.replace(prepared, validation=chosen)
        config = _settings(base, episodes)
        experiment = CachedExperiment(output, start, prepared, config, eval_episodes, report)
        outcomes = run_variants(experiment, variants, seeds)
    publish(experiment, outcomes, "every variant has the same trained backbone", as_json)


def _without_teachers(recipe: Recipe, data: tuple[Path, ...]) -> Recipe:
    """Return the recipe for these groups alone, with neither teachers nor classes in common."""
    views: dict[str, int] = {path.stem: recipe.views_of(path.stem) for path in data}
    return dataclasses.replace(recipe, group_views=views, teachers={}, merged=())


def _settings(recipe: Recipe, episodes: int) -> DistillationConfig:
    """Return the recipe's settings for episodes alone; all that a variant learns comes from them."""
    changes: dict[str, Any] = {"pretrain_steps": 0, "episodes": episodes, "class_weight": 0.0}
    return dataclasses.replace(recipe.training, episode_teacher_weight=0.0, **changes)


if __name__ == "__main__":
    sys.exit(run(command, "python -m benchmarks.ablation.cached"))
