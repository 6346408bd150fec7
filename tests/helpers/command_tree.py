"""All commands of the command line by path."""

from __future__ import annotations

import click

from hmdrn.cli.main import cli


def collect_commands(group: click.Group, path: str) -> dict[str, click.Command]:
    commands: dict[str, click.Command] = {}
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        commands[f"{path} {name}"] = command
        if isinstance(command, click.Group):
            commands |= collect_commands(command, f"{path} {name}")
    return commands


COMMANDS = collect_commands(cli, "hmdrn")
