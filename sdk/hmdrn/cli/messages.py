"""Lines for people on standard error."""

from __future__ import annotations

import contextlib

import click


def tell(message: str, program: str = "hmdrn") -> None:
    """One line on standard error, whatever the message holds; nothing where that cannot be written to."""
    with contextlib.suppress(OSError):
        click.echo(told(message, program), err=True)


def told(message: str, program: str = "hmdrn") -> str:
    """The line that `tell` writes."""
    return f"{program}: {' '.join(message.split())}"
