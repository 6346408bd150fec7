"""Lines for people on standard error."""

from __future__ import annotations

import contextlib

import click

from hmdrn_runtime.credentials import mask_secrets


def print_message(message: str, program: str = "hmdrn") -> None:
    """Print one line on standard error; do nothing where that cannot be written to."""
    with contextlib.suppress(OSError):
        click.echo(format_message(message, program), err=True)


def format_message(message: str, program: str = "hmdrn") -> str:
    """Return the line that `print_message` prints: program name, message without line breaks or secrets."""
    return f"{program}: {' '.join(mask_secrets(message).split())}"
