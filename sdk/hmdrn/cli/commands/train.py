"""`hmdrn train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import progress, require
from hmdrn.loading import checkpoint_path
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.images.preprocessing import PREPROCESSINGS
from hmdrn_runtime.io.files import user_path

BACKBONE_NAMES = ("conv4", "resnet12", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
"""Backbones to choose from; a copy of the registry's names, which only torch can give."""


@click.command("train")
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--split", default="train", show_default=True, help="Split to train on, where DATA has splits.")
@click.option(
    "--val-split", default="val", show_default=True, help="Split to validate on, where there is one."
)
@click.option(
    "--val-share",
    type=FiniteRange(0, 0.5),
    default=0.2,
    show_default=True,
    help="Share of the classes to validate on, where DATA has no splits.",
)
@click.option("--backbone", type=click.Choice(BACKBONE_NAMES), default="conv4", show_default=True)
@click.option(
    "--side", type=click.IntRange(1), help="Side of the input in pixels; the backbone's own by default."
)
@click.option("--pretrained", is_flag=True, help="Start from the backbone's ImageNet weights.")
@click.option(
    "--backbone-rate",
    type=FiniteRange(0),
    help="Rate of the backbone by that of the rest; 0.1 with --pretrained, else 1.",
)
@click.option("--head", type=click.Choice(["ridge", "attention"]), default="ridge", show_default=True)
@click.option(
    "--init", metavar="CHECKPOINT", help="Start from these weights; `default` are the package's own."
)
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
    "--learning-rate",
    type=FiniteRange(0, min_open=True),
    default=0.05,
    show_default=True,
    help="Peak rate of the episodes.",
)
@click.option(
    "--auxiliary",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Weight of FRN's loss that keeps the support tokens of classes apart.",
)
@click.option("--validate-every", type=click.IntRange(1), default=500, show_default=True, help="In episodes.")
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=0,
    help="Stop after so many validations without a gain; 0: never.",
)
@click.option(
    "--preprocess",
    type=click.Choice(PREPROCESSINGS),
    default="crop",
    show_default=True,
    help="How validation makes whole photos square.",
)
@click.option(
    "--save-every",
    type=FiniteRange(0),
    default=300.0,
    show_default=True,
    help="Seconds between two states.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--name", default="hmdrn", show_default=True, help="The model's name, in its card.")
@click.option("--licence", default="not stated", help="Licence of the weights, for the model card.")
def command(
    data: tuple[Path, ...],
    output: Path,
    split: str,
    val_split: str,
    val_share: float,
    backbone: str,
    side: int | None,
    pretrained: bool,
    backbone_rate: float | None,
    head: str,
    init: str | None,
    preprocess: str,
    save_every: float,
    device: str,
    name: str,
    licence: str,
    **settings: Any,
) -> None:
    """Train a model on DATA (folders or zips of photographs by class).

    The same command goes on where an interrupted run in --output stopped. The checkpoint is
    OUTPUT/model.safetensors; export it with hmdrn-export --checkpoint. Several GPUs:
    torchrun --nproc-per-node 4 -m hmdrn train ...

    Example: hmdrn train birds.zip butterflies.zip --output runs/first
    """
    require("torch", "training", "train")
    from hmdrn.cli.training_display import TrainingDisplay
    from hmdrn_network.backbones.pretrained import load_pretrained
    from hmdrn_network.checkpoints import ModelCard, load_checkpoint
    from hmdrn_network.config import NetworkConfig
    from hmdrn_network.hmdrn import HMDRN
    from hmdrn_network.training.config import TrainingConfig
    from hmdrn_network.training.data import open_training_data
    from hmdrn_network.training.run import train
    from hmdrn_network.training.validation import Validation
    from hmdrn_network.training.workers import pick_device

    output = user_path(output, TrainingError)
    if pretrained and init is not None:
        raise click.UsageError("--pretrained and --init exclude each other: give one of them")
    if backbone_rate is None:
        backbone_rate = 0.1 if pretrained else 1.0
    config = TrainingConfig(backbone_rate=backbone_rate, **settings)
    network = NetworkConfig(backbone, head, side=side or 0)  # type: ignore[arg-type]
    start = init_sha256 = None
    if init is not None:
        checkpoint = load_checkpoint(checkpoint_path(init))
        start, init_sha256 = checkpoint.network, checkpoint.sha256
    elif pretrained:
        start = HMDRN(network)
        load_pretrained(start.backbone, network.spec)
    with progress() as report:
        cache = output / "cache"
        training = open_training_data(data, split, val_split, val_share, network.side, cache, report)
        validation = (
            Validation(training.validation, preprocess, side=network.side, report=report)
            if training.validation
            else None
        )
    for remark in training.remarks(config.way):
        click.echo(remark, err=True)
    if validation is None:
        click.echo("no classes to validate on: the last step's weights are kept", err=True)
    recipe = {
        "network": network.to_dict(),
        "pretrained": pretrained,
        "data": training.record,
        "init_sha256": init_sha256,
    }
    card = ModelCard(name, licence, training_data=training.description, recipe=recipe)
    with progress() as report:
        try:
            train(
                network,
                training.groups,
                config,
                output,
                card,
                validation=validation,
                start=start,
                device=pick_device(device),
                listener=TrainingDisplay(report),
                every=save_every,
            )
        except KeyboardInterrupt:
            click.echo(f"the run is saved in {output}: the same command goes on with it", err=True)
            raise
    click.echo(f"checkpoint: {output / 'model.safetensors'}")
