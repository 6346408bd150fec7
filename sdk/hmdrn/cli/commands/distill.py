"""`hmdrn distill`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hmdrn.cli.options import PATH, data_argument, option, require_package, strict_data_option
from hmdrn.cli.output import progress
from hmdrn.cli.parameters import FiniteRange
from hmdrn_runtime.datasets.dataset import open_splits
from hmdrn_runtime.datasets.reading import PhotoReader, apply_to_all
from hmdrn_runtime.errors import TrainingError
from hmdrn_runtime.io.files import expand_path


@click.command("distill")
@data_argument
@option("--output", "-o", required=True, type=PATH, help="Folder of the run.")
@option("--recipe", default="default", help="Recipe of the package, or a JSON file.")
@option("--init", metavar="CHECKPOINT", help="Continue from these weights; `default` for the package's.")
@option("--guide", metavar="CHECKPOINT", help="Network whose answers to the episodes are learned too.")
@option("--teachers", type=PATH, help="Folder of the teachers that the recipe names.")
@option("--cache", type=PATH, help="Folder of the caches; OUTPUT/cache by default.")
@option("--save-every", type=FiniteRange(0), default=180.0, help="Seconds between two states.")
@strict_data_option
@option("--only-prepare", is_flag=True, help="Fill the caches and stop.")
def command(
    data: tuple[Path, ...],
    output: Path,
    recipe: str,
    init: str | None,
    guide: str | None,
    teachers: Path | None,
    cache: Path | None,
    save_every: float,
    strict_data: bool,
    only_prepare: bool,
) -> None:
    """Train a model with a pretrained backbone and teachers on DATA (zips or folders).

    Photos, maps of the frozen stages, teachers' features and the guide's summaries of the photos are computed
    once and cached. The same command continues an interrupted run. The checkpoint is
    OUTPUT/model.safetensors. With several processes every step takes as many batches: run --only-prepare
    first, then torchrun --nproc-per-node 2 -m hmdrn distill ...

    Example: hmdrn distill photos/ --recipe finetune --init default --guide default --output runs/mine
    """
    require_package("torch", "training", "train")
    from hmdrn.cli.training_display import TrainingDisplay
    from hmdrn.loading import resolve_checkpoint
    from hmdrn_network.checkpoints import load_checkpoint
    from hmdrn_network.training.distillation.guide import open_guide
    from hmdrn_network.training.distillation.preparation import prepare_data
    from hmdrn_network.training.distillation.recipe import load_recipe
    from hmdrn_network.training.distillation.run import distill
    from hmdrn_network.training.process import share_cores

    output = expand_path(output, TrainingError)
    cache = output / "cache" if cache is None else expand_path(cache, TrainingError)
    start, leader = (
        None if given is None else load_checkpoint(resolve_checkpoint(given)) for given in (init, guide)
    )
    settings = load_recipe(recipe, start.network.config if start else None)
    opened_guide = open_guide(leader, settings)
    threads = share_cores()
    with progress() as report:
        if strict_data:
            opened = apply_to_all(lambda path: open_splits(path, "train", "val"), data)
            PhotoReader().check([dataset for datasets in opened for dataset in datasets], report)
        prepared = prepare_data(data, settings, cache, teachers, report, threads, opened_guide)
    for line in prepared.warnings:
        click.echo(line, err=True)
    if not prepared.validation:
        click.echo("no classes to validate on: the weights of the last step are used", err=True)
    if only_prepare:
        click.echo(f"caches: {cache}")
        return
    with progress() as report:
        try:
            distill(
                settings,
                prepared,
                output,
                TrainingDisplay(report),
                save_every,
                start.network if start else None,
            )
        except KeyboardInterrupt:
            click.echo(f"the run is saved in {output}: the same command continues it", err=True)
            raise
    if os.environ.get("RANK", "0") == "0":
        click.echo(f"checkpoint: {output / 'model.safetensors'}")
