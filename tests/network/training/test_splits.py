from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_network.training.data import split_classes

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
