"""Running the commands of the pages and of the help texts, in this process where possible."""

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
"""Options appended to a command that would otherwise take minutes."""

PARSED = {
    "average": "needs two runs; tests/sdk/cli/test_average.py runs it",
    "studio": "runs until it is stopped; tests/sdk/studio runs it",
    "frigate": "needs Frigate and a broker; tests/sdk/integrations/frigate runs it with doubles",
    "build": "needs a GPU; tests/export/tensorrt builds engines with NVIDIA's compiler",
    "selftest": "half a minute; tests/sdk/selftest runs its parts",
    "distill": "hours, with teachers from elsewhere; tests/sdk/cli/test_distill.py runs a small recipe",
    "quantize-report": "half a minute; tests/sdk/cli/test_quantize_report.py runs it",
    "export": "20 s and more; test_quantize_report.py and test_build.py in tests/sdk/cli run it",
}
"""Commands that are parsed but not run here, each with the reason."""

_OPERATORS = set("|&;<>$`*(){}")


def split_lines(text: str) -> Iterator[str]:
    """Yield the commands of a shell block, continued lines joined, without comment lines."""
    for line in text.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
            yield line


def run_line(line: str, folder: Path) -> None:
    """Run one line of a shell in a folder, the current one; slow commands get the options in `SMALLER`.

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
    """Run `hmdrn ...` or `hmdrn-export ...` as its entry point does; only parse those in `PARSED`.

    Raises:
        AssertionError: Its exit code is not 0.
    """
    command, *arguments = words
    verb = _find_verb(words)
    if verb in PARSED:
        parse(words)
        return
    arguments += shlex.split(SMALLER.get(verb, ""))
    code = run(cli if command == "hmdrn" else export_command, command, arguments)
    assert code == 0, f"{shlex.join([command, *arguments])} ended with {code}"


def parse(words: list[str]) -> None:
    """Parse a command down to its last option, without running it.

    Raises:
        AssertionError: It cannot be parsed.
    """
    name, *arguments = words
    # Groups override `invoke`, so they still resolve their subcommand.
    with patch.object(click.Command, "invoke", lambda self, context: None):
        code = run(cli if name == "hmdrn" else export_command, name, arguments)
    assert code == 0, f"{shlex.join(words)} cannot be parsed"


def _find_verb(words: list[str]) -> str:
    return "export" if words[0] == "hmdrn-export" else next(iter(words[1:]), "")


def _check_install(arguments: list[str]) -> None:
    """Check that the extras of an installation exist; installing itself is the first step of CI."""
    known = re.findall(
        r"^(\w+) = \[",
        (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0],
        re.MULTILINE,
    )
    for extras in re.findall(r"(?:\.|hmdrn)\[([\w,]+)\]", " ".join(arguments)):
        for extra in extras.split(","):
            assert extra in known, f"no extra {extra!r}: there are {known}"
