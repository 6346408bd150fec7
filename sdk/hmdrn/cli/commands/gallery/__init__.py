"""`hmdrn gallery`: look at the galleries of devices, and change them."""

from __future__ import annotations

import click

from hmdrn.cli.commands.gallery import calibrate as calibrating
from hmdrn.cli.commands.gallery import edit as changing
from hmdrn.cli.commands.gallery import inspect as looking
from hmdrn.cli.commands.gallery import reenroll as reenrolling


@click.group("gallery", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Look at galleries, bring those of several devices together, and change them.

    Every change is written as a whole or not at all, one process at a time, and the generation before is
    kept as GALLERY.previous.

    Example: hmdrn gallery merge site7.gallery site8.gallery
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for verb in (
    looking.list_species,
    looking.show,
    looking.history,
    looking.diff,
    looking.verify,
    changing.merge,
    changing.import_species,
    changing.export_species,
    changing.forget,
    changing.rename,
    changing.compact,
    calibrating.calibrate,
    reenrolling.reenroll,
):
    command.add_command(verb)
