"""Lines for people on standard error."""

from __future__ import annotations

import click


def tell(message: str, program: str = "hmdrn") -> None:
    """One line on standard error, whatever the message holds."""
    click.echo(f"{program}: {' '.join(message.split())}", err=True)
