"""The drawn specimens: the same everywhere and every time, alike within a species, different between them."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.specimens import anatomy, drawing, traits
from hmdrn_runtime.specimens.drawing import draw_specimen, draw_specimens
from hmdrn_runtime.specimens.traits import name_species


def test_a_specimen_is_a_square_rgb_image_of_the_size_asked_for():
    for size in (32, 84, 128):
        image = draw_specimen(3, 1, size=size)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert image.flags["C_CONTIGUOUS"]


def test_the_same_specimen_is_drawn_identically_twice():
    assert np.array_equal(draw_specimen(7, 2, size=64, seed=5), draw_specimen(7, 2, size=64, seed=5))


def test_drawing_others_in_between_does_not_change_a_specimen():
    before = draw_specimen(4, 0, size=64)
    draw_specimens([1, 2, 4], 3, size=64, seed=1)
    anatomy.make_body_plan.cache_clear()
    traits.draw_traits.cache_clear()
    assert np.array_equal(before, draw_specimen(4, 0, size=64))


def test_numpy_integers_draw_what_python_integers_draw():
    assert np.array_equal(draw_specimen(np.int64(6), np.int64(1), size=64), draw_specimen(6, 1, size=64))


def test_every_species_specimen_and_seed_gives_another_image():
    images = [
        draw_specimen(*ids, size=48, seed=seed).tobytes() for ids in np.ndindex(3, 3) for seed in (0, 1)
    ]
    assert len(set(images)) == len(images)


def test_a_picture_is_neither_blank_nor_blown_out():
    for image in draw_specimens(range(6), 2, size=64).reshape(-1, 64, 64, 3):
        assert image.std() > 15
        assert 40 < image.mean() < 200


def test_another_size_shows_the_same_scene():
    small, large = draw_specimen(2, 3, size=64), draw_specimen(2, 3, size=128)
    halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 8


def test_markings_depend_on_the_species_and_not_on_the_seed():
    before = [traits.draw_traits(species) for species in range(200)]
    traits.draw_traits.cache_clear()
    draw_specimens(range(5), 1, size=32, seed=9)
    assert [traits.draw_traits(species) for species in range(200)] == before
    assert len(set(before)) == 200


def test_specimens_share_the_markings_of_their_own_species():
    plan = anatomy.make_body_plan(48)
    wings = np.stack(
        [
            [
                drawing._paint_wing(plan, traits.vary_traits(traits.draw_traits(species), rng), 0.15, rng)
                for rng in map(np.random.default_rng, range(4))
            ]
            for species in range(8)
        ]
    ).reshape(8, 4, -1)
    means = wings[:, :2].mean(1)
    distances = ((wings[:, 2:, None] - means) ** 2).sum(-1)
    assert np.array_equal(distances.argmin(-1), np.arange(8)[:, None].repeat(2, 1))


def test_raw_pixels_do_not_give_the_species_away():
    images = draw_specimens(range(5), 15, size=48).reshape(5, 15, -1).astype(np.float32)
    distances = ((images[:, 5:, None] - images[:, :5].mean(1)) ** 2).sum(-1)
    assert (distances.argmin(-1) == np.arange(5)[:, None]).mean() < 0.7


def test_specimens_of_several_species_are_those_drawn_one_by_one():
    images = draw_specimens(iter([5, 2]), 3, first=4, size=40, seed=8)
    assert images.shape == (2, 3, 40, 40, 3)
    assert images.dtype == np.uint8
    for row, species in enumerate((5, 2)):
        for column in range(3):
            assert np.array_equal(images[row, column], draw_specimen(species, 4 + column, size=40, seed=8))


def test_an_empty_list_of_species_gives_an_empty_array():
    assert draw_specimens([], 2, size=32).shape == (0, 2, 32, 32, 3)


def test_the_first_thousand_names_are_unique_and_of_two_words():
    names = [name_species(species) for species in range(1000)]
    assert len(set(names)) == 1000
    assert all(len(name.split()) == 2 and name.replace(" ", "").isalpha() for name in names)
    assert names == [name_species(species) for species in range(1000)]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((-1, 0), {}, "species"),
        ((0, -1), {}, "specimen"),
        ((0, 0), {"seed": -1}, "seed"),
        ((0, 0), {"size": 31}, "size"),
    ],
)
def test_a_specimen_that_cannot_be_is_refused(arguments, options, message):
    with pytest.raises(HmdrnError, match=message):
        draw_specimen(*arguments, **options)


def test_a_count_under_one_is_refused():
    with pytest.raises(HmdrnError, match="count"):
        draw_specimens([0], 0)


def test_a_negative_first_specimen_is_refused():
    with pytest.raises(HmdrnError, match="first"):
        draw_specimens([0], 2, first=-1)


def test_a_negative_species_is_refused():
    with pytest.raises(ValueError, match="species"):
        name_species(-1)
