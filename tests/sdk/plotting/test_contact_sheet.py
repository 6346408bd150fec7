from __future__ import annotations

import pytest
from PIL import Image

from hmdrn.plotting.contact_sheet import Tile, draw_tiles


@pytest.mark.parametrize(("suffix", "expected"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.parametrize("target", ["picture", "picture.data", "picture.png"])
def test_a_sheet_that_is_a_link_has_the_format_of_its_own_name(tmp_path, suffix, expected, target):
    (tmp_path / target).write_bytes(b"before")
    sheet = tmp_path / f"sheet.{suffix}"
    sheet.symlink_to(tmp_path / target)
    draw_tiles([("Sooty Albatross", [Tile(Image.new("RGB", (20, 20)), "good")])], sheet)
    assert sheet.is_symlink()
    with Image.open(tmp_path / target) as image:
        assert image.format == expected
