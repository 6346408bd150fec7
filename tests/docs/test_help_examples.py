"""The help of every command has an example, and every example runs."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from command_tree import COMMANDS
from commands import PARSED, run_command

from hmdrn_runtime.gallery.file import load_gallery


def _examples(command: click.Command) -> list[list[str]]:
    """Their words, however they are broken into lines."""
    return [
        shlex.split(" ".join(text.split()))
        for text in re.findall(
            r"Examples?:\s*(.+?)(?=\n\s*\n|\nExamples?:|\Z)", command.help or "", re.DOTALL
        )
    ]


EXAMPLES = [(name, words) for name, command in COMMANDS.items() for words in _examples(command)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_of_its_command(name):
    found = _examples(COMMANDS[name])
    assert found, f"{name} --help has no example"
    for words in found:
        command = "hmdrn export" if words[0] == "hmdrn-export" else shlex.join(words)
        assert command.startswith(name), f"{name} --help has an example of something else: {words}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), EXAMPLES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(EXAMPLES)])
def test_an_example_of_a_help_runs(name, words, folder):
    if name == "hmdrn gallery forget":
        words = [_digest() if word == "3fa85f64" else word for word in words]
    run_command(words)


def _digest() -> str:
    """The beginning of a digest that there is: a photo's own cannot be chosen."""
    return min(load_gallery("site7.gallery").species["Sooty Albatross"].digests)[:8]


def test_what_is_only_parsed_is_a_command_and_says_why():
    assert all(f"hmdrn {verb}" in COMMANDS and len(why) > 10 for verb, why in PARSED.items())
