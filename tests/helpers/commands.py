"""Running the commands of the pages and of the help texts, in this process where that is possible."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import click
from fences import ROOT

from hmdrn.cli.commands.export import command as export_command
from hmdrn.cli.main import cli, run

SMALLER = {
    "train": "--pretrain-steps 1 --episodes 1 --way 2 --max-shot 1 --queries 1 --validate-every 5",
    "eval": "--episodes 3 --queries 2",
    "profile": "--seconds 0.01 --runs 2 --species 5 --batches 2 --source jpeg --thread-counts 1 "
    "--cold-starts 0 --budget-ms 60000",
}
"""Options that are put behind those of a command, which would take minutes as it stands."""

PARSED = {
    "build": "needs a GPU; tests/export/tensorrt builds engines with NVIDIA's compiler",
    "quantize-report": "half a minute; tests/sdk/cli/test_quantize_report.py runs it",
    "export": "20 s and more; tests/sdk/test_calibrate_command.py and test_build_command.py run it",
}
"""Commands whose options and arguments are parsed, and that are not run here, each with the reason."""

_OPERATORS = set("|&;<>$`*(){}")


def lines(text: str) -> Iterator[str]:
    """The commands of a shell block, continued lines as one, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
            yield line


def run_line(line: str, folder: Path) -> None:
    """Run one line as a shell would in a folder, which is the current one; its options are made smaller.

    Raises:
        AssertionError: It fails.
    """
    words = shlex.split(line, comments=True)
    if words[:2] == ["pip", "install"]:
        _check_install(words[2:])
    elif words[0] in ("hmdrn", "hmdrn-export") and not _OPERATORS & set(line.split(" #")[0]):
        run_command(words)
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\nended with {done.returncode}: {done.stderr}"


def run_command(words: list[str]) -> None:
    """Run `hmdrn ...` or `hmdrn-export ...` as its entry point does; those in PARSED are parsed.

    Raises:
        AssertionError: Its exit code is not 0.
    """
    command, *arguments = words
    verb = _verb(words)
    if verb in PARSED:
        parse(words)
        return
    arguments += shlex.split(SMALLER.get(verb, ""))
    code = run(cli if command == "hmdrn" else export_command, command, arguments)
    assert code == 0, f"{shlex.join([command, *arguments])} ended with {code}"


def parse(words: list[str]) -> None:
    """Parse a command down to its last option, as running it would first.

    Raises:
        AssertionError: It is not understood.
    """
    name, *arguments = words
    # Groups have an `invoke` of their own: they still find the command that is meant.
    with patch.object(click.Command, "invoke", lambda self, context: None):
        code = run(cli if name == "hmdrn" else export_command, name, arguments)
    assert code == 0, f"{shlex.join(words)} is not understood"


def _verb(words: list[str]) -> str:
    return "export" if words[0] == "hmdrn-export" else next(iter(words[1:]), "")


def _check_install(arguments: list[str]) -> None:
    """An installation is CI's own first step; here its extras are looked up."""
    known = re.findall(
        r"^(\w+) = \[",
        (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0],
        re.MULTILINE,
    )
    for wanted in re.findall(r"(?:\.|hmdrn)\[([\w,]+)\]", " ".join(arguments)):
        for extra in wanted.split(","):
            assert extra in known, f"no extra {extra!r}: there are {known}"
