"""The command reference, from the commands' own help while the documentation is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from hmdrn.cli.main import cli

MARK = "<!-- commands -->"
_WIDTH = 96


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page: puts the help of all commands in place of the mark."""
    return markdown.replace(MARK, "\n".join(_reference(cli, "hmdrn"))) if MARK in markdown else markdown


def _reference(command: click.Command, path: str, level: int = 2) -> Iterator[str]:
    context = click.Context(
        command, info_name=path, max_content_width=_WIDTH, terminal_width=_WIDTH, **command.context_settings
    )
    yield f"{'#' * level} {path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _reference(found, f"{path} {name}", min(level + 1, 3))
