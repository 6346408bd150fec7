from __future__ import annotations

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from photo_folders import make_zip
from preprocessings import DEFAULT

from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.datasets.reading import (
    PhotoReader,
    apply_to_all,
    describe_unreadable,
    raise_together,
    read_classes,
)
from hmdrn_runtime.errors import DatasetError, EnrollmentError, HmdrnError


@pytest.fixture
def damaged(tmp_path):
    """Two classes of four photos: one is damaged, one empty, one a link to nothing."""
    for label in ("robin", "wren"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(4):
            PIL.Image.new("RGB", (90, 90), (20 * i, 10, 99)).save(tmp_path / "data" / label / f"{i}.png")
    (tmp_path / "data/robin/1.png").write_bytes(b"not an image")
    (tmp_path / "data/wren/0.png").write_bytes(b"")
    (tmp_path / "data/wren/3.png").unlink()
    (tmp_path / "data/wren/3.png").symlink_to(tmp_path / "gone.png")
    return open_dataset(tmp_path / "data")


def test_unreadable_photos_are_left_out_of_batches_and_counted(damaged):
    batches: list[npt.NDArray[np.uint8]] = []
    read = read_classes(damaged.classes, DEFAULT, 2, batches.append)
    assert read.sizes == {"robin": 3, "wren": 2}
    assert [len(batch) for batch in batches] == [1, 2, 1, 1]
    expected = [20 * i for i in (0, 2, 3, 1, 2)]
    assert [int(pixels[0, 0, 0]) for batch in batches for pixels in batch] == expected
    names = ("robin/1.png", "wren/0.png", "wren/3.png")
    assert all(name in reason for name, reason in zip(names, read.unreadable, strict=True))
    assert describe_unreadable(read.unreadable).startswith(
        "3 photos that cannot be read, left out: robin/1.png"
    )


def test_a_check_names_all_unreadable_photos_of_all_data_at_once(damaged, tmp_path):
    other = make_zip(tmp_path / "other.zip", ("robin/1.jpg",))
    names = r"robin/1\.png .*wren/0\.png .*3\.png .*in .*other\.zip: robin/1\.jpg"
    with pytest.raises(DatasetError, match=rf"^4 photos cannot be read: in .*data: {names}"):
        PhotoReader().check([damaged, open_dataset(other)])


def test_a_check_of_readable_photos_passes(damaged):
    PhotoReader().check([])
    reader = PhotoReader()
    assert len(list(reader.read(damaged.classes["robin"][2:], DEFAULT))) == 2
    reader.refuse()


def test_errors_of_several_items_are_one():
    def parse(text: str) -> int:
        if not text.isdigit():
            raise DatasetError(f"{text} is not a number")
        return int(text)

    assert apply_to_all(parse, ["1", "2"]) == [1, 2]
    with pytest.raises(DatasetError, match=r"^a is not a number$"):
        apply_to_all(parse, ["1", "a"])
    with pytest.raises(DatasetError, match=r"^2 problems: a is not a number; b is not a number$"):
        apply_to_all(parse, ["a", "1", "b"])


def test_errors_of_different_kinds_are_a_general_one():
    with pytest.raises(HmdrnError, match=r"^2 problems: one; two$") as caught:
        raise_together([DatasetError("one"), EnrollmentError("two")])
    assert type(caught.value) is HmdrnError
    raise_together([])


def test_long_lists_are_cut_with_a_count():
    assert describe_unreadable([str(i) for i in range(25)]).endswith("19 and 5 more")
