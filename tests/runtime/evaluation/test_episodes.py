from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.evaluation.episodes import Episode, fitting, mean_and_interval, sample_episodes

SIZES = [30, 12, 25, 20, 40, 5, 22]


def key(episode: Episode) -> tuple[object, ...]:
    return episode.classes, episode.support.tolist(), episode.query.tolist()


def drawn(sizes: list[int] = SIZES, **changes: int) -> list[Episode]:
    arguments = {"way": 3, "shot": 5, "queries": 7, "episodes": 10, "seed": 1} | changes
    return list(sample_episodes(sizes, **arguments))


def test_episodes_have_the_shape_that_is_asked_for():
    episodes = drawn()
    assert len(episodes) == 10
    for episode in episodes:
        assert len(episode.classes) == 3
        assert all(type(index) is int for index in episode.classes)
        assert episode.support.shape == (3, 5)
        assert episode.query.shape == (3, 7)
        assert episode.support.dtype == episode.query.dtype == np.int64


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 15), min_size=2, max_size=12),
    way=st.integers(2, 6),
    shot=st.integers(1, 5),
    queries=st.integers(1, 5),
    seed=st.integers(0, 2**40),
)
def test_no_photo_and_no_class_is_drawn_twice(sizes, way, shot, queries, seed):
    usable = {index for index, size in enumerate(sizes) if size >= shot + queries}
    if len(usable) < way:
        with pytest.raises(DatasetError, match=f"{len(usable)} of {len(sizes)} classes have as many"):
            drawn(sizes, way=way, shot=shot, queries=queries, seed=seed)
        return
    for episode in drawn(sizes, way=way, shot=shot, queries=queries, episodes=3, seed=seed):
        assert len(set(episode.classes)) == way
        assert usable.issuperset(episode.classes)
        for row, index in enumerate(episode.classes):
            photos = [*episode.support[row], *episode.query[row]]
            assert len(set(photos)) == shot + queries
            assert 0 <= min(photos) <= max(photos) < sizes[index]


def test_the_same_seed_draws_the_same_episodes_and_another_one_others():
    assert [key(e) for e in drawn()] == [key(e) for e in drawn()]
    assert [key(e) for e in drawn()] != [key(e) for e in drawn(seed=2)]
    assert len({str(key(e)) for e in drawn()}) == 10


def test_a_shorter_run_is_the_beginning_of_a_longer_one():
    assert [key(e) for e in drawn(episodes=4)] == [key(e) for e in drawn(episodes=9)][:4]


def test_episodes_are_drawn_when_asked_for():
    episodes = sample_episodes(SIZES, way=2, shot=1, queries=1, episodes=10**12, seed=0)
    assert key(next(episodes)) == key(drawn(way=2, shot=1, queries=1, episodes=1, seed=0)[0])


def test_every_usable_class_and_photo_is_drawn_in_the_long_run():
    episodes = drawn([6, 6, 6, 2], way=2, shot=2, queries=2, episodes=100)
    assert {index for episode in episodes for index in episode.classes} == {0, 1, 2}
    assert {photo for episode in episodes for photo in episode.support.ravel()} == set(range(6))
    assert {photo for episode in episodes for photo in episode.query.ravel()} == set(range(6))


def test_a_class_of_just_enough_photos_is_used():
    assert set(drawn([12, 12, 11], way=2, shot=5, queries=7, episodes=1)[0].classes) == {0, 1}


def test_too_few_classes_are_refused_with_the_counts_and_what_to_lower():
    with pytest.raises(
        DatasetError, match=r"need 6 classes of at least 20 photos, but 5 of 7 .*lower way"
    ) as caught:
        sample_episodes(SIZES, way=6, shot=5, queries=15, episodes=1, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("way", 1), ("shot", 0), ("queries", 0), ("episodes", 0), ("seed", -1), ("way", -3)],
)
def test_an_argument_out_of_range_is_refused_by_the_call(argument, value):
    arguments = {"way": 2, "shot": 1, "queries": 1, "episodes": 1, "seed": 0} | {argument: value}
    with pytest.raises(DatasetError, match=f"{argument} is {value}: it must be"):
        sample_episodes(SIZES, **arguments)


@pytest.mark.parametrize(
    ("sizes", "shot", "asked", "found"),
    [
        ([60] * 8, 5, (None, None), (5, 16)),
        ([20, 20], 5, (None, None), (2, 15)),
        ([60, 60, 60, 9], 5, (3, None), (3, 16)),
        ([60, 60, 60, 9], 5, (None, None), (4, 4)),
        ([60] * 8, 5, (3, 40), (3, 40)),
        ([6, 3], 5, (None, None), (2, 1)),
    ],
)
def test_a_small_data_set_has_smaller_episodes_unless_they_are_asked_for(sizes, shot, asked, found):
    assert fitting(sizes, shot, *asked) == found


@given(st.lists(st.integers(2, 60), min_size=2, max_size=12))
def test_episodes_that_fit_can_be_drawn_whenever_one_photo_is_left_over(sizes):
    way, queries = fitting(sizes, shot=1)
    assert next(sample_episodes(sizes, way=way, shot=1, queries=queries, episodes=1, seed=0))


def test_the_interval_is_that_of_the_papers():
    mean, half = mean_and_interval([0.5, 0.7, 0.9])
    assert mean == pytest.approx(0.7)
    assert half == pytest.approx(1.96 * 0.2 / math.sqrt(3))
    assert mean_and_interval(np.array([1, 2, 3], np.float32)) == pytest.approx((2.0, 1.96 / math.sqrt(3)))
    assert all(type(number) is float for number in mean_and_interval([1, 2]))


def test_the_interval_of_one_value_is_zero():
    assert mean_and_interval([0.25]) == (0.25, 0.0)


def test_no_values_have_no_mean():
    with pytest.raises(DatasetError, match="0 values"):
        mean_and_interval([])
