from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_network.training.data import hold_out_photos, split_classes
from hmdrn_runtime.datasets.dataset import open_dataset

NAMES = [f"species {i}" for i in range(12)]


@given(st.sets(st.text(), min_size=0, max_size=40), st.floats(0, 0.5))
def test_every_class_is_on_one_side_and_neither_side_is_a_single_class(names, share):
    train, val = split_classes(names, share)
    assert sorted([*train, *val]) == sorted(names)
    assert train == sorted(train)
    assert val == sorted(val)
    assert len(val) != 1
    if val:
        assert len(train) >= 2


def test_the_share_holds_in_any_order_of_the_names():
    train, val = split_classes(NAMES, 0.25)
    assert (len(train), len(val)) == (9, 3)
    assert split_classes(reversed(NAMES), 0.25) == (train, val)


def test_a_further_class_hardly_moves_the_others():
    _, val = split_classes(NAMES, 0.25)
    _, later = split_classes([*NAMES, "newcomer"], 0.25)
    assert len(set(val) - set(later)) <= 1


@pytest.mark.parametrize(
    ("classes", "share", "expected"), [(12, 0.0, 0), (3, 0.2, 0), (4, 0.2, 2), (12, 0.05, 2)]
)
def test_few_classes_are_split_so_that_episodes_are_possible_or_not_at_all(classes, share, expected):
    assert len(split_classes(NAMES[:classes], share)[1]) == expected


def test_the_last_photos_of_each_class_are_held_out(tmp_path):
    for label, count in (("few", 3), ("some", 4), ("wren", 12)):
        (tmp_path / label).mkdir()
        for i in range(count):
            (tmp_path / label / f"{i:02d}.jpg").touch()
    dataset = open_dataset(tmp_path)
    train, held_out = hold_out_photos(dataset, 0.25)
    assert {label: len(photos) for label, photos in train.classes.items()} == {"few": 3, "some": 2, "wren": 9}
    assert [photo.name for photo in held_out.classes["wren"]] == [f"wren/{i}.jpg" for i in ("09", "10", "11")]
    assert list(held_out.classes) == ["some", "wren"]
    assert hold_out_photos(dataset, 0.0)[0] == dataset
    assert not hold_out_photos(dataset, 0.0)[1].classes
