"""`python -m benchmarks.ablation`, from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.ablation.experiment import Experiment
from benchmarks.ablation.running import make_reporter, parse_variants, publish, run_variants
from benchmarks.ablation.variants import VARIANTS
from hmdrn.cli.main import run
from hmdrn.cli.options import json_option
from hmdrn.cli.output import progress
from hmdrn.cli.parameters import FiniteRange
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.config import NetworkConfig
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.data import open_training_data
from hmdrn_network.training.validation import Validation
from hmdrn_network.training.workers import pick_device
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.images.preprocessing import PREPROCESSING_MODES, Preprocessing
from hmdrn_runtime.io.files import expand_path


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the ablation."
)
@click.option(
    "--seeds", type=click.IntRange(1), default=2, show_default=True, help="Trainings of each variant."
)
@click.option(
    "--variants",
    callback=parse_variants,
    default=",".join(VARIANTS),
    show_default=True,
    help="Variants to train; full is always included.",
)
@click.option("--backbone", type=click.Choice(["conv4", "resnet12"]), default="conv4", show_default=True)
@click.option(
    "--pretrain-steps",
    type=click.IntRange(0),
    default=2500,
    show_default=True,
    help="Steps of classification, once per seed.",
)
@click.option(
    "--episodes",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    help="Episodes of each variant.",
)
@click.option("--way", type=click.IntRange(2), default=10, show_default=True, help="Classes in an episode.")
@click.option("--max-shot", type=click.IntRange(1), default=5, show_default=True, help="Shots: 1 to this.")
@click.option("--queries", type=click.IntRange(1), default=5, show_default=True, help="Queries of a class.")
@click.option("--learning-rate", type=FiniteRange(0, min_open=True), default=0.05, show_default=True)
@click.option(
    "--eval-episodes",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    help="Episodes of each group.",
)
@click.option("--split", default="train", show_default=True, help="Split to train on, if DATA has splits.")
@click.option("--val-split", default="val", show_default=True, help="Split to evaluate on.")
@click.option(
    "--val-share",
    type=FiniteRange(0, 0.5),
    default=0.2,
    show_default=True,
    help="Share of the classes to evaluate on, if DATA has no splits.",
)
@click.option("--preprocess", type=click.Choice(PREPROCESSING_MODES), default="crop", show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@json_option
def command(
    data: tuple[Path, ...],
    output: Path,
    seeds: int,
    variants: tuple[str, ...],
    backbone: str,
    eval_episodes: int,
    split: str,
    val_split: str,
    val_share: float,
    preprocess: str,
    device: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train HMDRN without each of its parts, FRN and ProtoNet from the same backbones, and compare them.

    Writes results.json, results.md and ablation.png to OUTPUT. The same command resumes a stopped run;
    seeds and variants can be added to a finished one.

    Example: python -m benchmarks.ablation birds.zip dogs.zip --output runs/ablation
    """
    output = expand_path(output, TrainingError)
    with progress() as display:
        report = make_reporter(display)
        training = open_training_data(
            data, split, val_split, val_share, BACKBONES[backbone].default_side, output / "cache", report
        )
        if not training.validation:
            raise TrainingError("no classes to evaluate on: give data with a val split, or a --val-share")
        preprocessing = Preprocessing(preprocess, NetworkConfig(backbone).side)
        validation = Validation(training.validation, preprocessing, episodes=eval_episodes, report=report)
        config = TrainingConfig(**settings)
        for line in training.describe_problems(config.way):
            click.echo(line, err=True)
        experiment = Experiment(output, backbone, training, validation, config, pick_device(device), report)
        outcomes = run_variants(experiment, variants, seeds)
    publish(experiment, outcomes, f"every variant starts from the same {backbone} of its seed", as_json)


if __name__ == "__main__":
    sys.exit(run(command, "python -m benchmarks.ablation"))
