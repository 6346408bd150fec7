"""What is true of every example."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PROGRAMS = sorted(EXAMPLES.rglob("*.py"))


def test_the_table_lists_every_example():
    listed = set(
        re.findall(r"^\| \[([\w.]+)/?\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    there = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith(("_", "."))}
    assert listed == there - {"README.md"}


@pytest.mark.parametrize(
    "program", [path for path in PROGRAMS if path.name != "naming.py"], ids=lambda path: path.stem
)
def test_a_program_says_what_it_needs_and_how_to_run_it_and_never_ends_in_a_traceback(program):
    tree = ast.parse(program.read_text(encoding="utf-8"))
    told = ast.get_docstring(tree)
    assert "Needs: " in told
    assert "Run" in told
    assert program.name in told
    caught = {ast.unparse(node.type) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    assert "hmdrn.HmdrnError" in caught
