"""The help of every command has an example, and every example runs."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from command_tree import COMMANDS
from commands import PARSED, run_command

from hmdrn_runtime.gallery.file import load_gallery


def _find_examples(command: click.Command) -> list[list[str]]:
    """Return the words of each example, however it is wrapped."""
    return [
        shlex.split(" ".join(text.split()))
        for text in re.findall(
            r"Examples?:\s*(.+?)(?=\n\s*\n|\nExamples?:|\Z)", command.help or "", re.DOTALL
        )
    ]


EXAMPLES = [(name, words) for name, command in COMMANDS.items() for words in _find_examples(command)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_of_its_command(name):
    examples = _find_examples(COMMANDS[name])
    assert examples, f"{name} --help has no example"
    for words in examples:
        command = "hmdrn export" if words[0] == "hmdrn-export" else shlex.join(words)
        assert command.startswith(name), f"{name} --help has an example of another command: {words}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), EXAMPLES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(EXAMPLES)])
def test_an_example_of_a_help_runs(name, words, folder):
    if name == "hmdrn gallery forget":
        words = [_find_digest() if word == "3fa85f64" else word for word in words]
    run_command(words)


def _find_digest() -> str:
    """Return the start of an existing digest, which no example can know beforehand."""
    return min(load_gallery("site7.gallery").species["Sooty Albatross"].digests)[:8]


def test_commands_that_are_only_parsed_exist_and_have_a_reason():
    assert all(f"hmdrn {verb}" in COMMANDS and len(reason) > 10 for verb, reason in PARSED.items())
