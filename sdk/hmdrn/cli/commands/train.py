"""`hmdrn train`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import progress, require
from hmdrn.loading import checkpoint_path
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.images.preprocessing import PREPROCESSINGS
from hmdrn_runtime.io.files import user_path

if TYPE_CHECKING:
    from hmdrn_network.training.interfaces import Listener
    from hmdrn_network.training.trainer import Progress


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
@click.option("--backbone", type=click.Choice(["conv4", "resnet12"]), default="conv4", show_default=True)
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
    from hmdrn_network.checkpoints import ModelCard, load_checkpoint
    from hmdrn_network.config import NetworkConfig
    from hmdrn_network.training.config import TrainingConfig
    from hmdrn_network.training.data import open_training_data
    from hmdrn_network.training.run import train
    from hmdrn_network.training.validation import Validation
    from hmdrn_network.training.workers import pick_device

    output = user_path(output, TrainingError)
    config = TrainingConfig(**settings)
    start = None if init is None else load_checkpoint(checkpoint_path(init))
    with progress() as report:
        cache = output / "cache"
        training = open_training_data(data, split, val_split, val_share, cache, report)
        validation = (
            Validation(training.validation, preprocess, report=report) if training.validation else None
        )
    for remark in training.remarks(config.way):
        click.echo(remark, err=True)
    if validation is None:
        click.echo("no classes to validate on: the last step's weights are kept", err=True)
    recipe = {
        "network": NetworkConfig(backbone, head).to_dict(),  # type: ignore[arg-type]
        "data": training.record,
        "init_sha256": None if start is None else start.sha256,
    }
    card = ModelCard(name, licence, training_data=training.description, recipe=recipe)
    with progress() as report:
        try:
            train(
                NetworkConfig(backbone, head),  # type: ignore[arg-type]
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
            click.echo(f"the run is saved in {output}: the same command goes on with it", err=True)
            raise
    click.echo(f"checkpoint: {output / 'model.safetensors'}")


def _listener(report: Callable[[str, int, int], None]) -> Listener:
    """Shows the steps on a terminal, and now and then a line where there is none."""
    from hmdrn_network.training.interfaces import Listener

    class Display(Listener):
        quiet_until = 0.0
        loss = accuracy = None

        def resumed(self, step: int, steps: int) -> None:
            click.echo(f"going on after step {step} of {steps}", err=True)

        def stepped(self, progress: Progress, step: int, steps: int) -> None:
            # Single episodes jump: what is shown is a running mean.
            self.loss = _mixed(self.loss, progress.loss)
            self.accuracy = _mixed(self.accuracy, progress.accuracy)
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


def _mixed(mean: float | None, value: float) -> float:
    return value if mean is None else 0.95 * mean + 0.05 * value
