"""`hmdrn train`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.options import PATH, data_argument, option, preprocess_option, require_package
from hmdrn.cli.output import progress
from hmdrn.cli.parameters import FiniteRange
from hmdrn.loading import resolve_checkpoint
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.progress import ProgressCallback

if TYPE_CHECKING:
    from hmdrn_network.training.run import Listener
    from hmdrn_network.training.trainer import Progress


@click.command("train")
@data_argument
@option("--output", "-o", required=True, type=PATH, help="Folder of the run.")
@option("--split", default="train", help="Split to train on, where DATA has splits.")
@option("--val-split", default="val", help="Split to validate on, where there is one.")
@option(
    "--val-share",
    type=FiniteRange(0, 0.5),
    default=0.2,
    help="Share of the classes to validate on, where DATA has no splits.",
)
@option("--backbone", type=click.Choice(["conv4", "resnet12"]), default="conv4", help="Feature extractor.")
@option("--head", type=click.Choice(["ridge", "attention"]), default="ridge", help="Reconstruction head.")
@option("--init", metavar="CHECKPOINT", help="Start from these weights; `default` are the package's own.")
@option("--pretrain-steps", type=click.IntRange(0), default=2500, help="Steps of classification first.")
@option("--episodes", type=click.IntRange(1), default=5000, help="Episodes after them.")
@option("--way", type=click.IntRange(2), default=10, help="Classes in an episode.")
@option("--max-shot", type=click.IntRange(1), default=5, help="Shots vary from 1 to this.")
@option("--queries", type=click.IntRange(1), default=5, help="Query photos of a class.")
@option(
    "--learning-rate", type=FiniteRange(0, min_open=True), default=0.05, help="Peak rate of the episodes."
)
@option(
    "--auxiliary",
    type=FiniteRange(0),
    default=0.0,
    help="Weight of FRN's loss that keeps the support tokens of classes apart.",
)
@option("--validate-every", type=click.IntRange(1), default=500, help="In episodes.")
@option(
    "--patience",
    type=click.IntRange(0),
    default=0,
    help="Stop after so many validations without a gain; 0: never.",
)
@preprocess_option("Way in which validation makes whole photos square.")
@option("--save-every", type=FiniteRange(0), default=300.0, help="Seconds between two saved states.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Device to train on.")
@option("--seed", type=click.IntRange(0), default=0, help="Seed of all random draws.")
@option("--name", default="hmdrn", help="The model's name, in its card.")
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
    backbone: str,
    head: str,
    init: str | None,
    preprocess: str,
    save_every: float,
    device: str,
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
    from hmdrn_network.checkpoints import ModelCard, load_checkpoint
    from hmdrn_network.config import NetworkConfig
    from hmdrn_network.training.config import TrainingConfig
    from hmdrn_network.training.data import open_training_data
    from hmdrn_network.training.run import train
    from hmdrn_network.training.validation import Validation
    from hmdrn_network.training.workers import pick_device

    output = expand_path(output, TrainingError)
    network = NetworkConfig(backbone, head)  # type: ignore[arg-type]
    config = TrainingConfig(**settings)
    start = None if init is None else load_checkpoint(resolve_checkpoint(init))
    with progress() as report:
        cache = output / "cache"
        training = open_training_data(data, split, val_split, val_share, cache, report)
        classes = training.validation
        preprocessing = Preprocessing(preprocess, network.side)
        validation = Validation(classes, preprocessing, report=report) if classes else None
    for remark in training.remarks(config.way):
        click.echo(remark, err=True)
    if validation is None:
        click.echo("no classes to validate on: the weights of the last step are used", err=True)
    recipe = {
        "network": network.to_dict(),
        "data": training.record,
        "init_sha256": None if start is None else start.sha256,
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
                start=None if start is None else start.network,
                device=pick_device(device),
                listener=_listener(report),
                every=save_every,
            )
        except KeyboardInterrupt:
            click.echo(f"the run is saved in {output}: the same command continues it", err=True)
            raise
    click.echo(f"checkpoint: {output / 'model.safetensors'}")


def _listener(report: ProgressCallback) -> Listener:
    """Show the steps on a terminal, and also print a line every minute."""
    from hmdrn_network.training.run import Listener

    class Display(Listener):
        quiet_until = 0.0
        loss = accuracy = None

        def resumed(self, step: int, steps: int) -> None:
            click.echo(f"continuing after step {step} of {steps}", err=True)

        def stepped(self, progress: Progress, step: int, steps: int) -> None:
            # A running mean, since single episodes jump.
            self.loss = _running_mean(self.loss, progress.loss)
            self.accuracy = _running_mean(self.accuracy, progress.accuracy)
            learned = ", ".join(f"{name} {value:.2g}" for name, value in progress.scalars.items())
            text = f"{progress.phase}: loss {self.loss:.3f}, accuracy {100 * self.accuracy:.0f} %, {learned}"
            report(text, step, steps)
            if time.monotonic() > self.quiet_until or step == steps:
                self.quiet_until = time.monotonic() + 60
                click.echo(f"step {step} of {steps}, {text}", err=True)

        def validated(self, accuracies: Mapping[str, float], best: bool) -> None:
            shown = ", ".join(f"{name} {value:.1f} %" for name, value in accuracies.items())
            click.echo(f"validation{' (best so far)' if best else ''}: {shown}", err=True)

        def saved(self, folder: Path) -> None:
            from hmdrn.plotting.figures import draw_curves

            draw_curves(folder / "history.json", folder / "curves.png")

    return Display()


def _running_mean(mean: float | None, value: float) -> float:
    return value if mean is None else 0.95 * mean + 0.05 * value
