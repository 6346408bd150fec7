"""`hmdrn visits`: shows the diary that `watch` and `label` write, and corrects it."""

from __future__ import annotations

import click

from hmdrn.cli.commands.visits import edit, inspect, output


@click.group("visits", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Look at the visits that `hmdrn watch --visits` and `hmdrn label` wrote, and correct them.

    FILE is an SQLite database with the pictures inside; docs/visits.md describes its tables.

    Example: hmdrn visits list site7.visits
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _verb in (
    inspect.list_visits,
    inspect.show,
    inspect.stats,
    output.export,
    output.sheet,
    edit.correct,
    edit.rename,
    edit.undo,
    edit.inbox,
):
    command.add_command(_verb)
