"""Every block of the README and of the documentation runs, or says why not."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from commands import lines, parse, run_line
from fences import MARKS, PAGES, ROOT, RUN, SHOWN, Block, blocks
from PIL import Image

BLOCKS = [block for page in PAGES for block in blocks(page)]
PAGES_THAT_RUN = [page for page in PAGES if any(b.language in RUN and not b.mark for b in blocks(page))]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.place)
def test_a_block_says_what_it_is_and_a_mark_what_it_stands_for(block):
    assert block.language in (*RUN, *SHOWN), f"{block.place}: a block of {block.language or 'no language'!r}"
    assert block.mark in ("", *MARKS), f"{block.place}: no mark {block.mark!r}"
    if block.mark == "ci":
        assert f"block {block.what} " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        readme = next(b for b in blocks(ROOT / "README.md") if (b.mark, b.what) == ("ci", block.what))
        assert block.text == readme.text
    if block.mark == "elsewhere":
        assert (ROOT / block.what.split()[0].rstrip(",")).exists(), f"{block.place}: no {block.what}"
    if block.language == "json":
        json.loads(block.text)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.mark in ("hardware", "elsewhere")], ids=lambda b: b.place
)
def test_a_block_that_is_not_run_here_is_understood(block):
    if block.language == "python":
        compile(block.text, block.place, "exec")
        return
    for line in lines(block.text):
        words = shlex.split(line, comments=True)
        if words[0] in ("hmdrn", "hmdrn-export"):
            parse(words)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_runs_from_its_first_block_to_its_last(page, folder):
    """A reader types one block after the other, in one folder and one interpreter."""
    names = {"frame": np.asarray(Image.open(folder / "frame.jpg").convert("RGB"))}
    for block in blocks(page):
        if block.language in RUN and not block.mark:
            _run(block, folder, names)


def _run(block: Block, folder, names) -> None:
    if block.language == "python":
        # The block's own lines in a traceback.
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), names)
    else:
        for line in lines(block.text):
            run_line(line, folder)
