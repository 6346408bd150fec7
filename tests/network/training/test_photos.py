from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hmdrn_network.training.photos import PhotoGroup, decoded_side, load_photo_group
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import TrainingError

SIDE = decoded_side(84)

COLORS = {
    "gull/a.png": (250, 10, 10),
    "gull/b.png": (10, 250, 10),
    "tern/a.png": (10, 10, 250),
    "tern/b.png": (10, 250, 250),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, color in COLORS.items():
        picture(tmp_path / "birds" / name, color)
    return tmp_path / "birds"


def picture(path: Path, color: tuple[int, int, int], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (150, 70), color).convert(mode).save(path)


def load(folder: Path, **options) -> PhotoGroup:
    return load_photo_group(folder.name, open_dataset(folder).classes, 84, **options)


def test_photos_are_in_the_order_of_classes_and_names(folder):
    group = load(folder)
    assert group.name == "birds"
    assert group.names == ("gull", "tern")
    assert [c.tolist() for c in group.classes] == [[0, 1], [2, 3]]
    assert group.images.shape == (4, SIDE, SIDE, 3)
    assert group.images.dtype == torch.uint8
    for image, color in zip(group.images, COLORS.values(), strict=True):
        assert torch.equal(image, torch.tensor(color, dtype=torch.uint8).expand_as(image))
    assert group.problems.describe() == []


def test_a_photo_is_squashed_as_a_whole_and_not_cropped(folder):
    # A border of white on every side of a photo twice as wide as high stays on every side.
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[:5], pixels[-5:], pixels[:, :10], pixels[:, -10:] = 255, 255, 255, 255
    Image.fromarray(pixels).save(folder / "gull" / "0.png")
    image = load(folder).images[0].float()
    for border in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert border.min() > 200
    assert image[SIDE // 2, SIDE // 2].max() == 0


def test_progress_counts_every_photo(folder):
    reports: list[tuple[str, int, int]] = []
    load(folder, report=lambda *report: reports.append(report))
    assert reports == [("reading birds", i, 4) for i in (1, 2, 3, 4)]


def test_unusable_photos_are_left_out_and_named(folder):
    (folder / "tern" / "broken.png").write_bytes(b"no image")
    picture(folder / "tern" / "again.png", COLORS["tern/b.png"])
    picture(folder / "gull" / "gray.png", (90, 90, 90), "L")
    picture(folder / "gull" / "clear.png", (30, 90, 90), "RGBA")
    picture(folder / "skua" / "a.png", (1, 2, 3))
    for species in ("gull", "tern"):
        picture(folder / species / "both.png", (200, 100, 50))
    group = load(folder)
    assert group.names == ("gull", "tern")
    assert [len(c) for c in group.classes] == [4, 2]
    problems = group.problems
    assert list(problems.unreadable) == ["tern/broken.png"]
    assert problems.repeated == ("tern/b.png",)
    assert problems.contradictory == ("gull/both.png", "tern/both.png")
    assert problems.single == ("skua",)
    assert problems.modes == {"L": 1, "RGBA": 1}
    lines = "\n".join(problems.describe())
    for text in (
        "1 photo that cannot be read",
        "broken.png",
        "2 photos that lie in several",
        "skua",
        "1 L, 1 RGBA",
    ):
        assert text in lines


def test_a_long_list_of_names_is_cut(folder):
    for i in range(5):
        picture(folder / f"lone{i}" / "a.png", (i, 0, 0))
    assert "lone0, lone1, lone2 and 2 more" in "\n".join(load(folder).problems.describe())


def test_fewer_than_two_usable_classes_are_refused_with_the_reasons(folder):
    (folder / "tern" / "a.png").write_bytes(b"no image")
    with pytest.raises(TrainingError, match=r"birds has 1 usable classes.*tern/a\.png.*single photo.*tern"):
        load(folder)


def test_a_cache_is_read_in_place_of_the_photos(folder, tmp_path):
    (folder / "tern" / "broken.png").write_bytes(b"no image")
    first = load(folder, cache=tmp_path / "cache" / "birds-1")
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"gone")
    again = load(folder, cache=tmp_path / "cache" / "birds-1")
    assert torch.equal(first.images, again.images)
    assert again.names == first.names
    assert again.problems == first.problems
    assert [c.tolist() for c in again.classes] == [c.tolist() for c in first.classes]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_cache_is_made_again(folder, tmp_path, suffix):
    whole = load(folder)
    load(folder, cache=tmp_path / "birds-1")
    path = (tmp_path / "birds-1").with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(load(folder, cache=tmp_path / "birds-1").images, whole.images)


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TrainingError, match="cannot write decoded photos"):
        load(folder, cache=tmp_path / "file" / "birds")
