"""Every command of the command line, by its path."""

from __future__ import annotations

import click

from hmdrn.cli.main import cli


def collect_commands(group: click.Group, path: str) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[f"{path} {name}"] = command
        if isinstance(command, click.Group):
            found |= collect_commands(command, f"{path} {name}")
    return found


COMMANDS = collect_commands(cli, "hmdrn")
