"""`hmdrn distill`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hmdrn.cli.options import progress, require
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.io.files import user_path


@click.command("distill")
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--recipe", default="default", show_default=True, help="Recipe of the package, or a JSON file.")
@click.option(
    "--teachers", type=click.Path(path_type=Path), help="Folder of the teachers that the recipe names."
)
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder of the caches; OUTPUT/cache by default."
)
@click.option(
    "--save-every",
    type=click.FloatRange(0),
    default=180.0,
    show_default=True,
    help="Seconds between two states.",
)
@click.option("--only-prepare", is_flag=True, help="Fill the caches and stop.")
def command(
    data: tuple[Path, ...],
    output: Path,
    recipe: str,
    teachers: Path | None,
    cache: Path | None,
    save_every: float,
    only_prepare: bool,
) -> None:
    """Train a model with a pretrained backbone and teachers on DATA (zips or folders with splits).

    Photos, maps of the frozen stages and teachers' features are computed once and cached. The same command
    continues an interrupted run. The checkpoint is OUTPUT/model.safetensors. With several processes every
    step takes as many batches: run --only-prepare first, then
    torchrun --nproc-per-node 2 -m hmdrn distill ...

    Example: hmdrn distill data/*.zip --teachers teachers --output runs/default
    """
    require("torch", "training", "train")
    from hmdrn.cli.training_display import TrainingDisplay
    from hmdrn_network.training.distillation.preparation import prepare_data
    from hmdrn_network.training.distillation.recipe import load_recipe
    from hmdrn_network.training.distillation.run import distill
    from hmdrn_network.training.process import share_cores

    output = user_path(output, TrainingError)
    cache = output / "cache" if cache is None else user_path(cache, TrainingError)
    settings = load_recipe(recipe)
    threads = share_cores()
    with progress() as report:
        prepared = prepare_data(data, settings, cache, teachers, report, threads)
    if only_prepare:
        click.echo(f"caches: {cache}")
        return
    with progress() as report:
        try:
            distill(settings, prepared, output, TrainingDisplay(report), save_every)
        except KeyboardInterrupt:
            click.echo(f"the run is saved in {output}: the same command continues it", err=True)
            raise
    if os.environ.get("RANK", "0") == "0":
        click.echo(f"checkpoint: {output / 'model.safetensors'}")
