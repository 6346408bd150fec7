"""What the repository says of itself is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hmdrn.cli.main import _VERBS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    assert page.name != "README.md" or targets
    for target in targets:
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in _VERBS:
        assert f"hmdrn {verb}" in text or f"hmdrn-{verb}" in text, verb


def test_every_json_schema_is_described():
    described = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "sdk" / "hmdrn" / "cli").rglob("*.py")]
    names = {
        name for source in sources for name in re.findall(r'(?:print_json|versioned)\(\s*"([\w.]+)"', source)
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
