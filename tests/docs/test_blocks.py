"""Every code block of the README and of the documentation runs, or states why not."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from commands import parse, run_line, split_lines
from fences import MARKS, PAGES, ROOT, RUN, SHOWN, Block, iterate_blocks
from PIL import Image

BLOCKS = [block for page in PAGES for block in iterate_blocks(page)]
PAGES_THAT_RUN = [
    page for page in PAGES if any(b.language in RUN and not b.mark for b in iterate_blocks(page))
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.place)
def test_every_block_has_a_known_language_and_mark(block):
    assert block.language in (*RUN, *SHOWN), f"{block.place}: a block of {block.language or 'no language'!r}"
    assert block.mark in ("", *MARKS), f"{block.place}: no mark {block.mark!r}"
    if block.mark == "ci":
        assert f"block {block.argument} " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        readme = next(
            b for b in iterate_blocks(ROOT / "README.md") if (b.mark, b.argument) == ("ci", block.argument)
        )
        assert block.text == readme.text
    if block.mark == "elsewhere":
        assert (ROOT / block.argument.split()[0].rstrip(",")).exists(), f"{block.place}: no {block.argument}"
    if block.language == "json":
        json.loads(block.text)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.mark in ("hardware", "elsewhere")], ids=lambda b: b.place
)
def test_a_block_that_is_not_run_here_can_be_parsed(block):
    if block.language == "python":
        compile(block.text, block.place, "exec")
        return
    for line in split_lines(block.text):
        words = shlex.split(line, comments=True)
        if words[0] in ("hmdrn", "hmdrn-export"):
            parse(words)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_runs_from_its_first_block_to_its_last(page, folder):
    """A reader runs one block after the other, in one folder and one interpreter."""
    names = {"frame": np.asarray(Image.open(folder / "frame.jpg").convert("RGB"))}
    for block in iterate_blocks(page):
        if block.language in RUN and not block.mark:
            _run(block, folder, names)


def _run(block: Block, folder, names) -> None:
    if block.language == "python":
        # Tracebacks then show the lines of the page.
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), names)
    else:
        for line in split_lines(block.text):
            run_line(line, folder)
