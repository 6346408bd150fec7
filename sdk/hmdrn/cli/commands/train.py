"""`hmdrn train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.data_messages import print_unreadable
from hmdrn.cli.options import (
    PATH,
    data_argument,
    option,
    preprocess_option,
    require_package,
    strict_data_option,
)
from hmdrn.cli.output import progress
from hmdrn.cli.parameters import FiniteRange
from hmdrn.loading import resolve_checkpoint
from hmdrn_runtime.datasets.dataset import open_splits
from hmdrn_runtime.datasets.reading import PhotoReader, apply_to_all
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.io.files import expand_path

BACKBONE_NAMES = ("conv4", "resnet12", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
"""Names of the registry, copied because the registry imports torch."""


@click.command("train")
@data_argument
@option("--output", "-o", required=True, type=PATH, help="Folder of the run.")
@option("--split", default="train", help="Split to train on, for DATA with splits.")
@option("--val-split", default="val", help="Split to validate on, if DATA has it.")
@option(
    "--val-share",
    type=FiniteRange(0, 0.5),
    default=0.2,
    help="Share of the classes to validate on, for DATA without splits.",
)
@option(
    "--backbone",
    type=click.Choice(BACKBONE_NAMES),
    help="Feature extractor.  [default: that of --init, or conv4]",
)
@option(
    "--side",
    type=click.IntRange(1),
    help="Side of the input in pixels.  [default: that of --init, or the backbone's]",
)
@option("--pretrained", is_flag=True, help="Start from the backbone's ImageNet weights.")
@option(
    "--backbone-rate",
    type=FiniteRange(0),
    help="Factor of the backbone's learning rate.  [default: 0.1 with --pretrained or --init, else 1]",
)
@option(
    "--head",
    type=click.Choice(["ridge", "attention"]),
    help="Reconstruction head.  [default: that of --init, or ridge]",
)
@option("--init", metavar="CHECKPOINT", help="Start from these weights; `default` for the package's.")
@option(
    "--pretrain-steps",
    type=click.IntRange(0),
    default=2500,
    help="Steps of classification first.",
)
@option("--episodes", type=click.IntRange(1), default=5000, help="Number of episodes.")
@option("--way", type=click.IntRange(2), default=10, help="Classes in an episode.")
@option("--max-shot", type=click.IntRange(1), default=5, help="Episodes have 1 to this many shots.")
@option("--queries", type=click.IntRange(1), default=5, help="Query photos of a class.")
@option(
    "--learning-rate", type=FiniteRange(0, min_open=True), default=0.05, help="Peak rate of the episodes."
)
@option(
    "--auxiliary",
    type=FiniteRange(0),
    default=0.0,
    help="Weight of FRN's loss on overlapping support tokens of classes.",
)
@option(
    "--validate-every",
    type=click.IntRange(1),
    default=500,
    help="Episodes between two validations; there are at least five.",
)
@option(
    "--patience",
    type=click.IntRange(0),
    default=0,
    help="Validations without a gain before training stops; 0 to train to the end.",
)
@preprocess_option("How validation makes whole photos square.")
@option("--save-every", type=FiniteRange(0), default=300.0, help="Seconds between two saved states.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Device to train on.")
@option("--seed", type=click.IntRange(0), default=0, help="Seed of all random draws.")
@strict_data_option
@option("--dry-run", is_flag=True, help="Read the data, time a few steps, print how long it takes, and end.")
@option("--name", default="hmdrn", help="Name of the model, for the model card.")
@option(
    "--license",
    "--licence",
    "weights_license",
    default="not stated",
    help="License of the weights, for the model card.",
)
def command(
    data: tuple[Path, ...],
    output: Path,
    split: str,
    val_split: str,
    val_share: float,
    backbone: str | None,
    side: int | None,
    pretrained: bool,
    backbone_rate: float | None,
    head: str | None,
    init: str | None,
    preprocess: str,
    save_every: float,
    device: str,
    strict_data: bool,
    dry_run: bool,
    name: str,
    weights_license: str,
    **settings: Any,  # those of `TrainingConfig`
) -> None:
    """Train a model on DATA (folders or zips of photographs by class).

    The same command continues an interrupted run in --output. The checkpoint is OUTPUT/model.safetensors;
    export it with hmdrn-export --checkpoint. Several GPUs: torchrun --nproc-per-node 4 -m hmdrn train ...

    Example: hmdrn train birds.zip butterflies.zip --output runs/first
    """
    require_package("torch", "training", "train")
    from hmdrn.cli.training_display import TrainingDisplay, print_estimate
    from hmdrn_network.backbones.pretrained import load_pretrained
    from hmdrn_network.checkpoints import ModelCard, load_checkpoint
    from hmdrn_network.config import NetworkConfig
    from hmdrn_network.hmdrn import HMDRN
    from hmdrn_network.training.config import TrainingConfig
    from hmdrn_network.training.data import open_training_data
    from hmdrn_network.training.estimate import estimate_duration
    from hmdrn_network.training.run import train
    from hmdrn_network.training.start import build_trainer
    from hmdrn_network.training.validation import Validation
    from hmdrn_network.training.workers import join_workers, pick_device

    output = expand_path(output, TrainingError)
    if pretrained and init is not None:
        raise click.UsageError("--pretrained and --init exclude each other: give one of them")
    if backbone_rate is None:
        backbone_rate = 0.1 if pretrained or init is not None else 1.0
    config = TrainingConfig(backbone_rate=backbone_rate, **settings)
    base, start, init_sha256 = NetworkConfig(backbone or "conv4"), None, None
    if init is not None:
        checkpoint = load_checkpoint(resolve_checkpoint(init))
        start, init_sha256 = checkpoint.network, checkpoint.sha256
        if backbone in (None, start.config.backbone):
            base = start.config
    network = replace(base, head=head or base.head, side=side or base.side)  # type: ignore[arg-type]
    if pretrained:
        start = HMDRN(network)
        load_pretrained(start.backbone, network.spec)
    with progress() as report:
        if strict_data:
            opened = apply_to_all(lambda path: open_splits(path, split, val_split), data)
            PhotoReader().check([dataset for datasets in opened for dataset in datasets], report)
        cache = output / "cache"
        training = open_training_data(data, split, val_split, val_share, network.side, cache, report)
        classes = training.validation
        preprocessing = Preprocessing(preprocess, network.side)
        validation = Validation(classes, preprocessing, report=report) if classes else None
    for line in training.describe_problems(config.way):
        click.echo(line, err=True)
    if validation is not None:
        print_unreadable(validation.unreadable)
    else:
        click.echo("no classes to validate on: the weights of the last step are used", err=True)
    if dry_run:
        with join_workers(pick_device(device)) as workers:
            trainer = build_trainer(network, training.groups, config, start, pick_device(device), workers)
            print_estimate(estimate_duration(trainer, validation), config)
        return
    recipe = {
        "network": network.to_dict(),
        "pretrained": pretrained,
        "data": training.record,
        "init_sha256": init_sha256,
    }
    card = ModelCard(name, weights_license, training_data=training.description, recipe=recipe)
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
                keep_start=init is not None,
                device=pick_device(device),
                listener=TrainingDisplay(report),
                save_interval=save_every,
            )
        except KeyboardInterrupt:
            click.echo(f"the run is saved in {output}: the same command continues it", err=True)
            raise
    click.echo(f"checkpoint: {output / 'model.safetensors'}")
