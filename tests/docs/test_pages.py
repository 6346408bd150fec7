"""The pages lead somewhere, leave nothing out, and say nothing of what is gone."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from command_tree import COMMANDS
from fences import PAGES, ROOT

import hmdrn
from hmdrn_runtime import errors

DOCS = ROOT / "docs"
ERRORS = sorted(name for name, kind in vars(errors).items() if isinstance(kind, type))


def _without_code(page: Path) -> str:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: code[0][1:-1].replace("[", "").replace("<", ""), text)


def _anchors(page: Path) -> set[str]:
    """Of its headings, as mkdocs and code hosts both spell them, and of what the docstrings add."""
    text = _without_code(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in headings}
    return slugs | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def _links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^()\s]+)\)", _without_code(page))
    return [link for link in found if not link.startswith(("https://", "http://"))]


OTHERS = sorted((ROOT / "examples").rglob("*.md"))


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_and_to_headings_in_them(page):
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in _anchors(target), f"{page.name} links to {link}; there are {_anchors(target)}"


def test_links_of_the_site_stay_within_it():
    for page in PAGES[1:]:
        for link in _links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.is_relative_to(DOCS), f"{page.name} links to {link}, which is no part of the site"


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {str(page.relative_to(DOCS)) for page in PAGES[1:]}


def test_the_catalogue_has_every_error_with_what_to_do_and_its_exit_code():
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert sorted(parts) == ERRORS
    assert all("*What to do:*" in part for part in parts.values())
    codes = {
        name: int(cells[3])
        for cells in (line.split("|") for line in text.splitlines() if line.startswith("| `"))
        for name in re.findall(r"`(\w+)`", cells[1])
    }
    assert codes == {name: getattr(errors, name).exit_code for name in ERRORS}


def test_no_error_is_defined_where_the_catalogue_does_not_look():
    kinds = re.compile(rf"^class (\w+)\(({'|'.join(ERRORS)})\b", re.MULTILINE)
    for part in ("runtime", "network", "export", "calibration", "sdk"):
        for source in (ROOT / part).rglob("*.py"):
            found = kinds.search(source.read_text(encoding="utf-8"))
            assert found is None or source == Path(errors.__file__), f"{source} defines {found}"


def _reference() -> set[str]:
    return set(re.findall(r"^::: hmdrn\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE))


def test_the_reference_has_every_public_name():
    assert _reference() == set(hmdrn.__all__) - set(ERRORS) - {"__version__"}


def test_the_reference_of_commands_has_the_help_of_each():
    source = importlib.util.spec_from_file_location("commands_hook", DOCS / "hooks" / "commands.py")
    assert source is not None
    assert source.loader is not None
    hook = importlib.util.module_from_spec(source)
    source.loader.exec_module(hook)
    page = hook.on_page_markdown((DOCS / "commands.md").read_text(encoding="utf-8"))
    for name, command in COMMANDS.items():
        assert f" {name}\n" in page, name
        assert (command.help or "").split()[0] in page
