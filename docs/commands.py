"""Write build/commands.md, which docs/commands.md includes: the help of every command.

python docs/commands.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from hmdrn.cli.main import cli

TARGET = Path(__file__).parents[1] / "build" / "commands.md"
_WIDTH = 96


def main(target: Path = TARGET) -> None:
    """Write the page."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(describe_commands(cli, "hmdrn")), encoding="utf-8")


def describe_commands(command: click.Command, path: str, level: int = 2) -> Iterator[str]:
    """Yield a section with the help of a command, then those of its subcommands."""
    context = click.Context(
        command, info_name=path, max_content_width=_WIDTH, terminal_width=_WIDTH, **command.context_settings
    )
    yield f"{'#' * level} {path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if subcommand is not None:
                yield from describe_commands(subcommand, f"{path} {name}", min(level + 1, 3))


if __name__ == "__main__":
    main()
