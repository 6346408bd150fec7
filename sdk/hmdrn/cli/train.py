"""`hmdrn train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hmdrn.cli.common import progress, require
from hmdrn_runtime.datasets import find_splits, open_dataset
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.files import user_path

if TYPE_CHECKING:
    from hmdrn_network.training import Progress


@click.command("train")
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--split", default="train", show_default=True, help="Split of every DATA that has splits.")
@click.option("--backbone", type=click.Choice(["conv4", "resnet12"]), default="conv4", show_default=True)
@click.option("--head", type=click.Choice(["ridge", "attention"]), default="ridge", show_default=True)
@click.option(
    "--pretrain-steps", type=click.IntRange(0), default=2500, show_default=True, help="Classification first."
)
@click.option(
    "--episodes", type=click.IntRange(1), default=5000, show_default=True, help="Episodes after it."
)
@click.option("--way", type=click.IntRange(2), default=10, show_default=True, help="Classes in an episode.")
@click.option(
    "--max-shot", type=click.IntRange(1), default=5, show_default=True, help="Shots vary from 1 to this."
)
@click.option(
    "--queries", type=click.IntRange(1), default=5, show_default=True, help="Query photos of a class."
)
@click.option(
    "--learning-rate", type=float, default=0.05, show_default=True, help="Peak rate of the episodes."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--name", default="hmdrn", show_default=True, help="The model's name, in its card.")
@click.option("--licence", default="not stated", help="Licence of the weights, for the model card.")
def command(
    data: tuple[Path, ...],
    output: Path,
    split: str,
    backbone: str,
    head: str,
    pretrain_steps: int,
    episodes: int,
    way: int,
    max_shot: int,
    queries: int,
    learning_rate: float,
    seed: int,
    name: str,
    licence: str,
) -> None:
    """Train a model on DATA (folders or zips of photographs by class) from scratch.

    The same command goes on where an interrupted run in --output stopped. The checkpoint is
    OUTPUT/model.safetensors; export it with hmdrn-export --checkpoint.

    Example: hmdrn train birds.zip butterflies.zip --output runs/first
    """
    require("torch", "training", "train")
    from hmdrn_network import ModelCard, NetworkConfig
    from hmdrn_network.photo_groups import load_photo_group
    from hmdrn_network.training import TrainingConfig, train

    output = user_path(output, TrainingError)
    config = TrainingConfig(
        pretrain_steps=pretrain_steps,
        episodes=episodes,
        way=way,
        max_shot=max_shot,
        queries=queries,
        learning_rate=learning_rate,
        seed=seed,
    )
    datasets = []
    for path in data:
        splits = find_splits(path)
        datasets.append(open_dataset(path, split if splits else "all"))
    with progress() as report:
        groups = [load_photo_group(dataset, report) for dataset in datasets]

        def show(step: Progress) -> None:
            what = f"{step.phase}: loss {step.loss:.3f}, accuracy {100 * step.accuracy:.0f} %"
            report(what, step.step, step.steps)

        described = ", ".join(
            f"{d.source.name} ({len(d)} photos of {len(d.classes)} classes)" for d in datasets
        )
        recipe = {"split": split, "data_sha256": {d.source.name: d.digest() for d in datasets}}
        card = ModelCard(name, licence, training_data=described, recipe=recipe)
        train(NetworkConfig(backbone, head), groups, config, output, card, show)  # type: ignore[arg-type]
    click.echo(f"checkpoint: {output / 'model.safetensors'}")
