"""The command line: `hmdrn <verb>`, and `hmdrn-export`."""

from __future__ import annotations

import errno
import importlib
import os
import sys

import click

from hmdrn.cli.messages import print_message
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import reason
from hmdrn_runtime.messages import did_you_mean

_VERBS = {
    "build": "Build TensorRT engines of a bundle, on the device that will run them.",
    "classify": "Name the species on photos.",
    "demo": "See it work: enroll five species, name new specimens, draw the result.",
    "distill": "Train a model with a pretrained backbone and teachers.",
    "doctor": "Show what this device has, what would be used of it, and what to do next.",
    "enroll": "Enroll species from a folder of photos for each.",
    "eval": "Measure the episodic accuracy of a bundle.",
    "explain": "Show why a photo is named as it is, on the photo.",
    "export": "Turn a checkpoint into a bundle (also: hmdrn-export).",
    "gallery": "Look at galleries, merge those of several devices, change them.",
    "inspect": "Show what is in a bundle or a gallery.",
    "prepare": "Turn the original archives of a data set into a zip with splits.",
    "profile": "Measure how fast a bundle is on this machine.",
    "quantize-report": "Show what INT8 would cost a bundle, layer by layer.",
    "train": "Train a model on photographs by class.",
    "watch": "Name what a camera, stream or video shows, as it runs.",
}
"""Every verb with its line in the overview, which must not import the verb's module."""

_ALIASES = {"calibrate": "quantize-report"}
"""Old verbs that still work: each with the verb that replaced it."""

INTERRUPTED = 130

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk says, in writing alone."""


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used: classifying must not wait for what exporting needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if verb in _ALIASES:
            print_message(f"hmdrn {verb} is now called hmdrn {_ALIASES[verb]}")
            args = [_ALIASES[verb], *args[1:]]
        elif verb not in _VERBS and not verb.startswith("-"):
            meant = did_you_mean(verb, _VERBS)
            raise click.UsageError(f"no command {verb!r}: {meant}There are {', '.join(sorted(_VERBS))}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = importlib.import_module(f"hmdrn.cli.commands.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_VERBS.items()))


@click.group(
    cls=_Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="hmdrn")
@click.pass_context
def cli(context: click.Context) -> None:
    """Few-shot fine-grained recognition on edge devices."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(command: click.Command, name: str, arguments: list[str] | None = None) -> int:
    """Run a command; every foreseen error becomes one line and its exit code.

    Args:
        command: What to run.
        name: The program's name in messages.
        arguments: Its arguments; those of the process if None.

    Returns:
        0 done, 1 a fault of ours, 2 the user's input or environment, 3 a limit missed, 130 interrupted.
    """
    try:
        result = command.main(arguments, prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.UsageError as error:
        asked = error.ctx.command_path if error.ctx else name
        return _fail(name, f"{error.format_message().rstrip('.')}; see {asked} --help", 2)
    except click.ClickException as error:
        return _fail(name, error.format_message(), 2)
    except HmdrnError as error:
        return _fail(name, str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail(name, "interrupted", INTERRUPTED)
    except SystemExit:
        # What click and rich make of a closed pipe: whoever read our output has seen enough.
        return 0
    except OSError as error:
        # Files are written elsewhere, with errors of their own: what is left is what was printed.
        if error.errno not in _FULL:
            raise
        _give_up_output()
        return _fail(name, f"cannot write the output: {reason(error)}; make room, or write it elsewhere", 2)


def _give_up_output() -> None:
    """Drop what is still to be printed: Python would try once more at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _fail(name: str, message: str, code: int) -> int:
    print_message(message, name)
    return code


def main() -> int:
    """Entry point of `hmdrn`."""
    return run(cli, "hmdrn")


def export_main() -> int:
    """Entry point of `hmdrn-export`."""
    from hmdrn.cli.commands.export import command

    return run(command, "hmdrn-export")
