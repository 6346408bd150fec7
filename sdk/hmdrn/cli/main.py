"""The command line: `hmdrn <verb>`."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from hmdrn.cli.encoding import escape_output
from hmdrn.cli.messages import print_message
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.messages import HmdrnWarning

_VERBS = {
    "average": "Average the weights of checkpoints of several runs.",
    "build": "Build TensorRT engines of a bundle, on the device that will run them.",
    "classify": "Name the species on photos.",
    "correct": "Put the species of a photo right: enroll it there, and not where it was.",
    "demo": "See it work: enroll five species, name new specimens, draw the result.",
    "distill": "Train a model with a pretrained backbone and teachers.",
    "doctor": "Show what this device has, what hmdrn uses of it, and what to do next.",
    "enroll": "Enroll species from a folder of photos for each.",
    "eval": "Measure the episodic accuracy of a bundle.",
    "explain": "Show on the photo why it got its name.",
    "export": "Turn a checkpoint into a bundle (also: hmdrn-export).",
    "frigate": "Name the birds and animals that Frigate sees, by your own species.",
    "gallery": "Look at galleries, merge those of several devices, change them.",
    "inspect": "Show the contents of a bundle or a gallery.",
    "keygen": "Make the keys of a fleet, whose devices run engines that one of them built.",
    "label": "Name the photos of a trail camera's card: visits, a table, copies by species.",
    "models": "List models with size, work, accuracy, training data and license.",
    "prepare": "Turn the original archives of a data set into a zip with splits.",
    "profile": "Measure how fast a bundle is on this machine.",
    "quantize-report": "Show what INT8 would cost a bundle, layer by layer.",
    "selftest": "Try and measure all that hmdrn does on this device, for a report to send in.",
    "studio": "See, enroll and correct in a browser, on this device, without the network.",
    "train": "Train a model on photographs by class.",
    "visits": "Look at the visits that watch and label wrote, correct them, name strangers.",
    "watch": "Name what a camera, stream or video shows, while it runs.",
}
"""Every verb with its line in the overview, which must not import the verb's module."""

_ALIASES = {"calibrate": "quantize-report"}
"""Old verbs that still work, each with its new name."""

INTERRUPTED = 130

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _LazyGroup(click.Group):
    """Imports a verb's module when the verb is used: classifying must not wait for what exporting needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if verb in _ALIASES:
            print_message(f"note: hmdrn {verb} is now called hmdrn {_ALIASES[verb]}")
            args = [_ALIASES[verb], *args[1:]]
        elif verb not in _VERBS and not verb.startswith("-"):
            from hmdrn_runtime.messages import suggest_names

            guess = suggest_names(verb, _VERBS)
            raise click.UsageError(f"no command {verb!r}: {guess}There are {', '.join(sorted(_VERBS))}", ctx)
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
    cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="hmdrn")
@click.pass_context
def cli(context: click.Context) -> None:
    """Few-shot fine-grained recognition on edge devices."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(command: click.Command, program: str, arguments: list[str] | None = None) -> int:
    """Run a command as `program`, by default with the process's arguments; print an error as one line.

    Returns:
        0 done, 1 a fault of ours, 2 the user's input or environment, 3 a limit missed, 130 interrupted.
    """
    escape_output()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, program, warnings.showwarning)
            result = command.main(arguments, prog_name=program, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else program
        message, code = f"{error.format_message().rstrip('.')}; see {path} --help", 2
    except click.ClickException as error:
        message, code = error.format_message(), 2
    except HmdrnError as error:
        message, code = str(error), error.exit_code
    except (click.Abort, KeyboardInterrupt):
        message, code = "interrupted", INTERRUPTED
    except SystemExit:
        # click and rich raise it on a closed pipe: the reader has seen enough.
        return 0
    except OSError as error:
        # Commands catch the errors of the files they write, so this one is about standard output.
        if error.errno not in _DISK_FULL:
            raise
        from hmdrn_runtime.io.files import describe_os_error

        _discard_output()
        space = "make room, or write it elsewhere"
        message, code = f"cannot write the output: {describe_os_error(error)}; {space}", 2
    print_message(message, program)
    return code


def _discard_output() -> None:
    """Drop buffered output: Python would try to write it once more at exit, and complain."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _show_warning(
    program: str, show: Callable[..., None], message: Warning | str, category: type[Warning], *place: Any
) -> None:
    """Print a warning of ours as one line, and any other as Python does."""
    if issubclass(category, HmdrnWarning):
        print_message(f"warning: {message}", program)
    else:
        show(message, category, *place)
