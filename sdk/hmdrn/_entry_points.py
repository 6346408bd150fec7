"""The entry points, which import nothing before an interrupt can be caught."""

from __future__ import annotations

_INTERRUPTED = 130


def main() -> int:
    """Entry point of `hmdrn`."""
    try:
        from hmdrn.cli import main as cli
        from hmdrn.cli.signals import leave

        return leave(cli.main())
    except KeyboardInterrupt:
        return _INTERRUPTED


def export_main() -> int:
    """Entry point of `hmdrn-export`."""
    try:
        from hmdrn.cli import main as cli

        return cli.export_main()
    except KeyboardInterrupt:
        return _INTERRUPTED
