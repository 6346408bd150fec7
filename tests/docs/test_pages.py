"""The pages lead somewhere, leave nothing out, mention nothing that is gone, and are plain English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_tree import COMMANDS
from fences import PAGES, ROOT, SITE
from scripts import load_script

import hmdrn
from hmdrn_runtime import errors
from hmdrn_runtime.enrollment.evidence import PROBABLY_WRONG

DOCS = ROOT / "docs"
LINKED = sorted({*PAGES, *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")})
ERRORS = sorted(name for name, kind in vars(errors).items() if isinstance(kind, type))
AVOIDED = (
    r"\b(tells?|told|telling|by what|be it|whose word|one's own|for to"
    r"|(?<!there )is no \w+|(?<!there )are no \w+)\b"
)


def _remove_code(page: Path) -> str:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: code[0][1:-1].replace("[", "").replace("<", ""), text)


def _find_anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as Zensical and code hosts spell them, and of the references."""
    text = _remove_code(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in headings}
    return slugs | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def _find_links(page: Path) -> list[str]:
    """Return the targets of links and pictures within the project."""
    links = re.findall(r"\]\(([^()\s]+)\)", _remove_code(page))
    return [link for link in links if not link.startswith(("https://", "http://"))]


def _show_path(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", LINKED, ids=_show_path)
def test_links_lead_to_files_and_to_headings_in_them(page):
    for link in _find_links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            anchors = _find_anchors(target)
            assert anchor in anchors, f"{page.name} links to {link}; there are {anchors}"


def test_links_of_the_site_stay_within_it():
    for page in SITE:
        for link in _find_links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.is_relative_to(DOCS), f"{page.name} links to {link}, outside the site"


def test_every_page_is_in_the_navigation():
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    listed = re.findall(r'" = "(\S+\.md)"', config)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in SITE)


@pytest.mark.parametrize("page", LINKED, ids=_show_path)
def test_pages_are_written_in_plain_english(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"\s+", " ", re.sub(r"`[^`]*`", "", text))
    avoided = [match[0] for match in re.finditer(AVOIDED, prose, re.IGNORECASE)]
    assert avoided == []


def test_the_readme_has_at_most_900_words():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:runtime|network|export|calibration|sdk|docs|benchmarks|tests)/[\w./-]*)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_benchmark_that_a_page_names_exists():
    names = {
        name
        for page in LINKED
        for name in re.findall(r"python -m benchmarks\.([a-z]\w*)", page.read_text(encoding="utf-8"))
    }
    assert len(names) > 8
    missing = [name for name in names if not list((ROOT / "benchmarks").glob(f"{name}*"))]
    assert missing == []


def test_the_catalog_has_every_error_with_what_to_do_and_its_exit_code():
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


@pytest.mark.parametrize("page", ["enrolling.md", "json.md"])
def test_pages_give_the_evidence_below_which_a_photo_is_probably_wrong(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert re.findall(r"evidence is below (-?[\d.]+)", text) == [f"{PROBABLY_WRONG:g}"]


def test_no_error_is_defined_outside_the_catalog():
    kinds = re.compile(rf"^class (\w+)\(({'|'.join(ERRORS)})\b", re.MULTILINE)
    for part in ("runtime", "network", "export", "calibration", "sdk"):
        for source in (ROOT / part).rglob("*.py"):
            definition = kinds.search(source.read_text(encoding="utf-8"))
            assert definition is None or source == Path(errors.__file__), f"{source} defines {definition}"


def _find_references() -> set[str]:
    return set(re.findall(r"^::: hmdrn\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE))


def test_the_reference_has_every_public_name():
    assert _find_references() == set(hmdrn.__all__) - set(ERRORS) - {"__version__"}


def test_the_page_of_commands_has_the_help_of_each(tmp_path):
    script = load_script(DOCS / "commands.py")
    script.main(tmp_path / "commands.md")
    page = (tmp_path / "commands.md").read_text(encoding="utf-8")
    for name, command in COMMANDS.items():
        assert f" {name}\n" in page, name
        assert (command.help or "").split()[0] in page
    assert f'--8<-- "{script.TARGET.relative_to(ROOT)}"' in (DOCS / "commands.md").read_text(encoding="utf-8")


def test_the_overview_of_commands_names_every_verb():
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        verb = name.split()[1]
        assert f"`hmdrn {verb} " in text or f"`hmdrn {verb}`" in text or f"`hmdrn-{verb} " in text, verb
