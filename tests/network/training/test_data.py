"""Data sets of a training run: one name for each class in any spelling, and all that is left out named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hmdrn_network.training.data import TrainingData, open_training_data
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.progress import ignore_progress

COMPOSED, DECOMPOSED = "M\u00e9sange", "Me\u0301sange"


def draw(root: Path, names: list[str]) -> Path:
    """Draw three photos of plain color for each class."""
    for c, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (90, 90), (20 * c, 40 * i, 99)).save(root / name / f"{i}.png")
    return root


def opened(tmp_path: Path, *roots: Path) -> TrainingData:
    return open_training_data(roots, "train", "val", 0.4, 32, tmp_path / "cache", ignore_progress)


def test_a_class_that_is_trained_on_is_not_validated_on_under_another_spelling(tmp_path):
    names = [f"train/{COMPOSED}", "train/wren", f"val/{DECOMPOSED}", "val/wren ", "val/robin"]
    data = opened(tmp_path, draw(tmp_path / "birds", names))
    assert data.groups[0].names == (COMPOSED, "wren")
    assert list(data.validation["birds"]) == ["robin"]
    assert data.record["birds"]["val"] == ["robin"]


def test_the_record_of_a_data_set_does_not_depend_on_the_spelling(tmp_path):
    names = ["a", "b", "c", "d"]
    records = [
        opened(tmp_path / str(i), draw(tmp_path / str(i) / "birds", [*names, name])).record
        for i, name in enumerate((COMPOSED, DECOMPOSED))
    ]
    assert records[0] == records[1]


def test_lookalikes_left_out_files_and_unreadable_photos_are_described(tmp_path):
    root = draw(tmp_path / "birds", ["train/Grey Wren", "train/robin", "val/grey_wren", "val/tit"])
    (root / "train/robin/old.psd").touch()
    (root / "train/robin/9.png").symlink_to(tmp_path / "gone.png")
    lines = opened(tmp_path, root).describe_problems(2)
    assert any("'Grey Wren' and 'grey_wren' look alike" in line for line in lines)
    assert any("left out 1 that are not photos: train/robin/old.psd" in line for line in lines)
    assert any("1 photo that cannot be read" in line and "9.png" in line for line in lines)


def test_all_data_that_cannot_be_opened_is_named_at_once(tmp_path):
    with pytest.raises(DatasetError, match=r"2 problems: .*one does not exist.*two does not exist"):
        opened(tmp_path, tmp_path / "one", draw(tmp_path / "birds", ["a", "b"]), tmp_path / "two")
