"""The help of every command has an example, and every example runs."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from command_tree import COMMANDS
from commands import PARSED, run_command


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
    run_command(words)


def test_commands_that_are_only_parsed_exist_and_have_a_reason():
    assert all(f"hmdrn {verb}" in COMMANDS and len(reason) > 10 for verb, reason in PARSED.items())
