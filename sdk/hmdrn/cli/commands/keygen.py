"""`hmdrn keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.options import PATH


@click.command("keygen")
@click.argument("file", type=PATH)
def command(file: Path) -> None:
    """Make the keys of a fleet, whose devices run engines that one of them built.

    FILE gets the private key, for `hmdrn build --sign` on the device that builds: keep it secret. FILE.pub
    gets the public key, for HMDRN_TRUSTED_KEYS on the others. Both are PEM (extra fleet).

    Example: hmdrn keygen fleet.pem
    """
    from hmdrn_export.tensorrt.signing import create_key_pair

    public = create_key_pair(file)
    click.echo(f"wrote {file}, which signs: keep it secret\nwrote {public}, for the devices that trust it")
