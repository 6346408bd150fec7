"""Properties of every example."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PROGRAMS = sorted(EXAMPLES.rglob("*.py"))


def test_the_table_lists_every_example():
    listed = set(
        re.findall(r"^\| \[([\w.]+)/?\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    existing = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith(("_", "."))}
    assert listed == existing - {"README.md"}


@pytest.mark.parametrize(
    "program", [path for path in PROGRAMS if path.name != "naming.py"], ids=lambda path: path.stem
)
def test_a_program_documents_its_use_and_catches_errors(program):
    tree = ast.parse(program.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree)
    assert "Needs: " in docstring
    assert "Run" in docstring
    assert program.name in docstring
    caught = {ast.unparse(node.type) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    assert "hmdrn.HmdrnError" in caught


@pytest.mark.parametrize(
    ("program", "package", "extra"),
    [("enroll_from_video.py", "cv2", "camera"), ("service.py", "fastapi", "examples")],
)
def test_without_its_extra_a_program_says_what_to_install(program, package, extra, environment):
    code = (
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = [{program!r}, '--help']; "
        f"runpy.run_path({str(EXAMPLES / program)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert f"pip install '.[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
