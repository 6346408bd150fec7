from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hmdrn_network.photo_groups import SIDE, load_photo_group
from hmdrn_runtime.datasets import open_dataset
from hmdrn_runtime.errors import ImageError

COLOURS = {"gull/a.png": (250, 10, 10), "gull/b.png": (10, 250, 10), "tern/a.png": (10, 10, 250)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        path = tmp_path / "birds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (150, 70), colour).save(path)
    return tmp_path / "birds"


def test_photos_are_in_the_order_of_classes_and_names(folder):
    group = load_photo_group(open_dataset(folder), lambda *_: None)
    assert group.name == "birds"
    assert [c.tolist() for c in group.classes] == [[0, 1], [2]]
    assert group.images.shape == (3, SIDE, SIDE, 3)
    assert group.images.dtype == torch.uint8
    for image, colour in zip(group.images, COLOURS.values(), strict=True):
        assert torch.equal(image, torch.tensor(colour, dtype=torch.uint8).expand_as(image))


def test_a_photo_is_squashed_as_a_whole_and_not_cropped(tmp_path):
    # A border of white on every side of a photo twice as wide as high stays on every side.
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[:5], pixels[-5:], pixels[:, :10], pixels[:, -10:] = 255, 255, 255, 255
    (tmp_path / "birds" / "gull").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "birds" / "gull" / "a.png")
    image = load_photo_group(open_dataset(tmp_path / "birds"), lambda *_: None).images[0].float()
    for border in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert border.min() > 200
    assert image[SIDE // 2, SIDE // 2].max() == 0


def test_progress_counts_every_photo(folder):
    reports: list[tuple[str, int, int]] = []
    load_photo_group(open_dataset(folder), lambda *report: reports.append(report))
    assert reports == [("reading birds", i, 3) for i in (1, 2, 3)]


def test_a_photo_that_cannot_be_read_is_named(folder):
    (folder / "tern" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"tern/broken\.png"):
        load_photo_group(open_dataset(folder), lambda *_: None)
