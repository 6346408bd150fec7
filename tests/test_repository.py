"""Statements of the repository about itself are true."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_json_schema_is_described():
    described = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "sdk" / "hmdrn" / "cli").rglob("*.py")]
    names = {
        name
        for source in sources
        for name in re.findall(r'(?:print_json|with_schema)\(\s*"([\w.]+)"', source)
    }
    assert len(names) >= 6
    for name in names:
        assert f"hmdrn.{name}/1" in described


def test_every_error_is_of_the_one_tree_and_has_an_exit_code():
    from hmdrn_runtime import errors

    kinds = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert len(kinds) > 8
    for kind in kinds:
        assert issubclass(kind, errors.HmdrnError)
        assert kind.exit_code in (1, 2, 3)
