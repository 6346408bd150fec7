"""`hmdrn average`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.options import PATH, option, require_package
from hmdrn.loading import resolve_checkpoint


@click.command("average")
@click.argument("checkpoints", nargs=-1, required=True)
@option("--output", "-o", required=True, type=PATH, help="Checkpoint to write.")
@option("--compact", is_flag=True, help="Round matrices and kernels to half precision: half the size.")
@option(
    "--side", type=click.IntRange(1), help="Side of the input in pixels; the checkpoints' may differ then."
)
def command(checkpoints: tuple[str, ...], output: Path, compact: bool, side: int | None) -> None:
    """Average the weights of CHECKPOINTS that were trained from the same start.

    The average of some runs of a recipe is often better than each run, at no cost on the device. Measure it:
    hmdrn eval OUTPUT photos/ --against RUN.

    Example: hmdrn average runs/a/model.safetensors runs/b/model.safetensors --output average.safetensors
    """
    require_package("torch", "averaging checkpoints", "train")
    from hmdrn_network.checkpoints import load_checkpoint, save_checkpoint
    from hmdrn_network.training.averaging import average_cards, average_networks

    loaded = [load_checkpoint(resolve_checkpoint(checkpoint)) for checkpoint in checkpoints]
    network = average_networks([checkpoint.network for checkpoint in loaded], side)
    save_checkpoint(output, network, average_cards(loaded), compact)
    click.echo(f"checkpoint: {output}")
