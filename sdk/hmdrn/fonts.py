"""Text in pictures: labels in any script, with the fonts of the system where Pillow's own lacks letters.

Arabic, Hebrew and Indic scripts are joined and ordered by libraqm, where Pillow has it
(`PIL.features.check("raqm")`). Colored emoji, bitmaps of one size, are not used.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import ImageDraw, ImageFont

from hmdrn_runtime.messages import HmdrnWarning

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
Run: TypeAlias = tuple[str, Font]
"""A part of a text, and the font that has all its letters."""

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("%WINDIR%/Fonts", "%LOCALAPPDATA%/Microsoft/Windows/Fonts"),
}
_OTHER_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_MAX_FONTS = 1000
_TEST_SIZE = 24
_PLAIN_NAMES = (
    "notosans",
    "dejavusans",
    "arialuni",
    "pingfang",
    "msyh",
    "meiryo",
    "malgun",
    "segoeui",
    "wqy",
)
_STYLES = ("bold", "italic", "oblique", "mono", "light", "thin", "black", "condensed", "serif")
_NO_GLYPH = "\U0010ffff"
"""A character that no font has: it is drawn as a box, as all that a font lacks."""


def draw_text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, color: tuple[int, int, int]
) -> None:
    """Draw one line of text from its upper left corner on; see `split_runs` for the fonts."""
    x, y = place
    runs = split_runs(text, size)
    if len(runs) == 1 and runs[0][1] == _default_font(size):
        draw.text(place, text, color, runs[0][1])
        return
    baseline = y + max(font.getmetrics()[0] for _, font in runs if isinstance(font, ImageFont.FreeTypeFont))
    for part, font in runs:
        draw.text((x, baseline), part, color, font, anchor="ls")
        x += font.getlength(part)


def measure_text(text: str, size: int) -> float:
    """Return the width of one line of text in pixels."""
    return sum(font.getlength(part) for part, font in split_runs(text, size))


@functools.lru_cache(1024)
def split_runs(text: str, size: int) -> Sequence[Run]:
    """Return the text in parts, each with a font of this size in pixels that has its letters.

    One font for the whole text is preferred: within a part, right-to-left scripts are in order. What no font
    has is left to Pillow's own, which draws boxes; a warning says so once.
    """
    letters = frozenset(filter(_is_visible, text))
    path = _find_font(letters)
    if path is not None:
        return ((text, _open_font(path, size)),)
    runs: list[tuple[str, str]] = []
    for letter in text:
        own = _find_font(frozenset(letter)) if _is_visible(letter) else runs[-1][1] if runs else ""
        if own is None:
            _warn_once()
            own = ""
        if runs and runs[-1][1] == own:
            runs[-1] = runs[-1][0] + letter, own
        else:
            runs.append((letter, own))
    return tuple((part, _open_font(own, size)) for part, own in runs)


def find_font_files(texts: Sequence[str]) -> list[Path]:
    """Return the system's fonts that texts need besides Pillow's own, for whoever draws by other means."""
    letters = sorted({letter for text in texts for letter in text if _is_visible(letter)})
    missing = [letter for letter in letters if not _has_letters("", frozenset(letter))]
    if not missing:
        return []
    together = _find_font(frozenset(missing))
    paths = [together] if together is not None else [_find_font(frozenset(letter)) for letter in missing]
    if None in paths:
        _warn_once()
    return [Path(path) for path in dict.fromkeys(filter(None, paths))]


def _is_visible(letter: str) -> bool:
    return unicodedata.category(letter)[0] not in "CZM"


@functools.lru_cache(1024)
def _find_font(letters: frozenset[str]) -> str | None:
    """Return the file of a font that has all letters; "" is Pillow's own, None if there is none."""
    if _has_letters("", letters):
        return ""
    return next((path for path in _list_candidates(letters) if _has_letters(path, letters)), None)


def _list_candidates(letters: frozenset[str]) -> Iterator[str]:
    codes = " ".join(f"{ord(letter):x}" for letter in sorted(letters))
    try:
        listed = subprocess.run(
            ["fc-list", f":charset={codes}", "--format=%{file}\\n"],
            capture_output=True,
            timeout=20,
            check=True,
        ).stdout
        paths = {os.fsdecode(line) for line in listed.splitlines()}
    except (OSError, subprocess.SubprocessError):
        paths = set(_list_files())
    return iter(sorted((path for path in paths if path.lower().endswith(_SUFFIXES)), key=_rank))


@functools.cache
def _list_files() -> tuple[str, ...]:
    paths: list[str] = []
    for folder in _FOLDERS.get(sys.platform, _OTHER_FOLDERS):
        root = Path(os.path.expandvars(folder)).expanduser()
        for parent, _, names in os.walk(root):
            paths += [os.path.join(parent, name) for name in names if name.lower().endswith(_SUFFIXES)]  # noqa: PTH118
    return tuple(sorted(paths, key=_rank)[:_MAX_FONTS])


def _rank(path: str) -> tuple[bool, int, int, str]:
    """Order fonts: upright ones for running text first."""
    name = Path(path).name.lower().replace("-", "").replace("_", "")
    known = not name.startswith(_PLAIN_NAMES)
    return known, sum(style in name for style in _STYLES), len(name), path


@functools.lru_cache(4096)
def _has_letters(path: str, letters: frozenset[str]) -> bool:
    try:
        font = _open_font(path, _TEST_SIZE)
        box = bytes(font.getmask(_NO_GLYPH))
        return all(bytes(font.getmask(letter)) != box for letter in letters)
    except (OSError, ValueError):  # a font of another kind, such as one of bitmaps of one size
        return False


@functools.lru_cache(64)
def _open_font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size) if path else _default_font(size)


@functools.lru_cache(64)
def _default_font(size: int) -> Font:
    return ImageFont.load_default(size)


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        "no font has all letters of the labels, so some are drawn as boxes: install fonts for them, "
        "such as Noto (packages fonts-noto, fonts-noto-cjk)",
        HmdrnWarning,
        stacklevel=3,
    )
