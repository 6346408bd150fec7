"""Fonts for labels, among fonts that are made here; the fonts of this machine play no part."""

from __future__ import annotations

import subprocess
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, ImageFont

from hmdrn import fonts as module
from hmdrn.fonts import draw_text, find_font_files, measure_text, split_runs
from hmdrn_runtime.messages import HmdrnWarning

CACHED = ("split_runs", "_find_font", "_list_files", "_has_letters", "_open_font", "_warn_once")


def make_font(path, letters, height):
    """Write a font whose letters are filled rectangles of a height, 0 to 1000."""

    def rectangle(height, width):
        pen = TTGlyphPen(None)
        pen.moveTo((50, 0))
        for point in ((50, height), (width, height), (width, 0)):
            pen.lineTo(point)
        pen.closePath()
        return pen.glyph()

    names = [f"g{ord(letter):x}" for letter in letters]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names, strict=True)})
    builder.setupGlyf({".notdef": rectangle(300, 450), **{name: rectangle(height, 950) for name in names}})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (1000, 50)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A system without fontconfig whose fonts are in this folder."""

    def missing(*_, **__):
        raise FileNotFoundError("fc-list")

    monkeypatch.setattr(subprocess, "run", missing)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module, "_OTHER_FOLDERS", (str(tmp_path), str(tmp_path / "none")))
    for name in CACHED:
        getattr(module, name).cache_clear()
    yield tmp_path
    for name in CACHED:
        getattr(module, name).cache_clear()


def font_names(text):
    return [(part, font.getname()[0]) for part, font in split_runs(text, 20)]


def test_plain_text_is_drawn_by_pillows_font_and_no_font_is_looked_for(folder, monkeypatch):
    monkeypatch.setattr(module, "_list_candidates", None)
    plain, ours = (Image.new("RGB", (200, 30)) for _ in range(2))
    ImageDraw.Draw(plain).text((3, 4), "Sooty Albatross  97 %", (255, 0, 0), ImageFont.load_default(15))
    draw_text(ImageDraw.Draw(ours), (3, 4), "Sooty Albatross  97 %", 15, (255, 0, 0))
    assert ours.tobytes() == plain.tobytes()
    assert measure_text("Albatross", 15) == ImageFont.load_default(15).getlength("Albatross")
    assert find_font_files(["Albatross"]) == []


def test_letters_that_pillow_lacks_come_from_a_font_that_has_them(folder):
    make_font(folder / "Han.ttf", "鳥信天翁", 800)
    make_font(folder / "Emoji.ttf", "🐦", 500)
    (folder / "broken.ttf").write_bytes(b"not a font")
    assert font_names("信天翁") == [("信天翁", "Han")]
    mixed = font_names("A 鳥 b 🐦")
    assert [name for _, name in mixed] == [mixed[0][1], "Han", mixed[0][1], "Emoji"]
    assert "".join(part for part, _ in mixed) == "A 鳥 b 🐦"
    image = Image.new("RGB", (200, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_text(ImageDraw.Draw(image), (0, 0), "鳥🐦", 20, (255, 255, 255))
    columns = np.asarray(image)[..., 0].max(axis=0) > 128
    heights = (np.asarray(image)[..., 0] > 128).sum(axis=0)
    assert columns[3:18].all()
    assert columns[23:38].all()
    assert abs(int(heights[10]) - 16) <= 1  # 800 of 1000 at 20 pixels
    assert abs(int(heights[30]) - 10) <= 1
    assert set(find_font_files(["A 鳥", "🐦"])) == {folder / "Han.ttf", folder / "Emoji.ttf"}


def test_one_font_for_the_whole_text_is_preferred_and_upright_ones(folder):
    make_font(folder / "a-Bold.ttf", "鳥b", 800)
    make_font(folder / "z.ttf", "鳥", 800)
    assert font_names("鳥b") == [("鳥b", "a-Bold")]
    assert font_names("鳥") == [("鳥", "z")]


def test_where_no_font_has_a_letter_it_is_said_once(folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for text in ("鳥", "信 b", "鳥鳥"):
            assert measure_text(text, 12) > 0
            find_font_files([text])
    (warning,) = caught
    assert warning.category is HmdrnWarning
    assert str(warning.message).startswith("no font has all letters of the labels")


def test_figures_have_fonts_for_their_letters(folder):
    make_font(folder / "Han.ttf", "鳥", 800)
    from matplotlib.figure import Figure

    from hmdrn.plotting.figures import save_figure

    figure = Figure(figsize=(2, 1))
    figure.suptitle("鳥 Albatross")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about each letter that it draws as a box
        save_figure(figure, folder / "figure.png")


@pytest.mark.parametrize("text", ["", " ", "\t", "a\u200bb"])
def test_nothing_visible_needs_no_font(folder, text):
    assert measure_text(text, 12) >= 0
    assert find_font_files([text]) == []
