"""`--strict-data`: every command that reads data names all photos that it cannot read, before any work."""

from __future__ import annotations

import pytest
from outcomes import assert_refused
from PIL import Image


@pytest.fixture
def damaged(tmp_path):
    """Three classes of four photos: one is damaged, one a link to nothing."""
    for c, label in enumerate(("robin", "tit", "wren")):
        (tmp_path / "birds" / label).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (90, 90), (40 * i, 60 * c, 99)).save(tmp_path / "birds" / label / f"{i}.png")
    (tmp_path / "birds/robin/1.png").write_bytes(b"not an image")
    (tmp_path / "birds/wren/9.jpg").symlink_to(tmp_path / "gone.jpg")
    return tmp_path / "birds"


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "default", "DATA", "--shot", 1, "--episodes", 2),
        ("train", "DATA", "--output", "OUTPUT"),
        ("quantize-report", "default", "DATA"),
        ("export", "--precision", "int8", "--calibration", "DATA", "--output", "OUTPUT"),
        ("export", "--background", "DATA", "--output", "OUTPUT"),
    ],
    ids=lambda command: " ".join(map(str, command[:3])),
)
def test_all_unreadable_photos_are_named_before_any_work(hmdrn, damaged, tmp_path, command):
    places = {"DATA": damaged, "OUTPUT": tmp_path / "output"}
    outcome = hmdrn(*(places.get(word, word) for word in command), "--strict-data")
    assert_refused(outcome, "2 photos cannot be read", "robin/1.png", "9.jpg is a link to a missing file")
    assert not (tmp_path / "output").exists()
