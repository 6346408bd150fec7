"""`hmdrn gallery`: shows the galleries of devices, and changes them."""

from __future__ import annotations

import click

from hmdrn.cli.commands.gallery import calibrate, edit, inspect, sheet


@click.group("gallery", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Look at galleries, bring those of several devices together, and change them.

    Every change is written as a whole or not at all, by one process at a time; the generation before stays
    in GALLERY.previous.

    Example: hmdrn gallery merge site7.gallery site8.gallery
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _verb in (
    inspect.list_species,
    inspect.show,
    inspect.history,
    inspect.diff,
    inspect.verify,
    sheet.sheet,
    edit.merge,
    edit.import_species,
    edit.export_species,
    edit.forget,
    edit.rename,
    edit.compact,
    calibrate.calibrate_gallery,
    edit.reenroll,
):
    command.add_command(_verb)
