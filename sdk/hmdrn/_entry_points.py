"""Entry points of the two programs; nothing is imported before an interrupt can be caught."""

from __future__ import annotations

_INTERRUPTED = 130


def main() -> int:
    """Run `hmdrn`."""
    try:
        from hmdrn.cli.main import cli, run
        from hmdrn.cli.signals import exit_process

        return exit_process(run(cli, "hmdrn"))
    except KeyboardInterrupt:
        return _INTERRUPTED


def export_main() -> int:
    """Run `hmdrn-export`."""
    try:
        from hmdrn.cli.commands.export import command
        from hmdrn.cli.main import run

        return run(command, "hmdrn-export")
    except KeyboardInterrupt:
        return _INTERRUPTED
