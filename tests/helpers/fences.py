"""The fenced blocks of a page, and what is said of each in a comment before it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

RUN = ("python", "sh")
"""Languages whose blocks are run, but for those that are marked."""
SHOWN = ("json", "text", "ini", "xml")
"""Languages of what is only to be read: outputs, files."""
MARKS = ("ci", "hardware", "elsewhere")
"""`<!-- ci: NAME -->`: .ci/run takes this block from the README and runs it as it stands.
`<!-- hardware: WHAT -->`: needs a device that CI has not; its commands are parsed, not run.
`<!-- elsewhere: FILE -->`: what it shows is run by that file; here its commands are parsed."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_MARK = re.compile(r"^\s*<!--\s*(?P<kind>\w+):\s*(?P<what>.+?)\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file that it is in.
        line: The line of its fence, from 1.
        language: What the fence says.
        text: Its lines, without the fences and their indentation.
        mark: Kind of the comment before it; "" for none.
        what: What the comment says.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    what: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in their order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for i, line in enumerate(lines):
        if not line.strip().startswith("```"):
            continue
        if start is not None:
            text = textwrap.dedent("\n".join(lines[start + 1 : i]))
            opened = _FENCE.match(lines[start])
            assert opened, f"{page.name}:{start + 1} opens a block in a way that is not understood"
            mark = _MARK.match(lines[start - 1]) if start else None
            kind, what = (mark["kind"], mark["what"]) if mark else ("", "")
            yield Block(page, start + 1, opened["language"], text, kind, what)
        start = None if start is not None else i
    assert start is None, f"{page.name} ends within a block"
