from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hmdrn_runtime.images.source import describe_source


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos/wren.jpg", "photos/wren.jpg"),
        (Path("wren.jpg"), "wren.jpg"),
        ("two\nlines.jpg", "'two\\nlines.jpg'"),
        (b"1234", "<bytes, 4>"),
        (PIL.Image.new("RGB", (640, 480)), "<PIL image 640x480 RGB>"),
        (np.zeros((480, 640, 3), np.uint8), "<array (480, 640, 3) uint8>"),
        (7, "<int>"),
    ],
)
def test_a_source_is_described_in_one_line(source, name):
    assert describe_source(source) == name
