"""Fenced code blocks of the pages, and the mark in the comment before each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = tuple(sorted((ROOT / "docs").rglob("*.md")))
"""Pages of the documentation's site."""
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *SITE)
"""Pages whose code blocks are run or parsed."""

RUN = ("python", "sh")
"""Languages whose blocks are run, except for marked ones."""
SHOWN = ("json", "text", "ini", "xml")
"""Languages of blocks to read only: outputs, files."""
MARKS = ("ci", "hardware", "elsewhere")
"""`<!-- ci: NAME -->`: .ci/run takes this block from the README and runs it verbatim.
`<!-- hardware: WHAT -->`: needs a device that CI lacks; its commands are parsed, not run.
`<!-- elsewhere: FILE -->`: that file runs it; here its commands are parsed."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_MARK = re.compile(r"^\s*<!--\s*(?P<kind>\w+):\s*(?P<argument>.+?)\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Its file.
        line: Line of its opening fence, from 1.
        language: Language of the fence; "" for none.
        text: Its lines, without the fences and their indentation.
        mark: Kind of the comment before it; "" for none.
        argument: Text of that comment after the kind.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    argument: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def iterate_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for i, line in enumerate(lines):
        if not line.strip().startswith("```"):
            continue
        if start is not None:
            text = textwrap.dedent("\n".join(lines[start + 1 : i]))
            fence = _FENCE.match(lines[start])
            assert fence, f"{page.name}:{start + 1} has a malformed fence"
            mark = _MARK.match(lines[start - 1]) if start else None
            kind, argument = (mark["kind"], mark["argument"]) if mark else ("", "")
            yield Block(page, start + 1, fence["language"], text, kind, argument)
        start = None if start is not None else i
    assert start is None, f"{page.name} ends within a block"
