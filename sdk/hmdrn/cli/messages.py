"""Lines for people on standard error."""

from __future__ import annotations

import contextlib

import click


def print_message(message: str, program: str = "hmdrn") -> None:
    """One line on standard error, whatever the message holds; nothing where that cannot be written to."""
    with contextlib.suppress(OSError):
        click.echo(format_message(message, program), err=True)


def format_message(message: str, program: str = "hmdrn") -> str:
    """The line that `print_message` writes."""
    return f"{program}: {' '.join(message.split())}"
