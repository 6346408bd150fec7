from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_network.training.augmentation import augment

GRAY = torch.tensor([0.299, 0.587, 0.114])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, side: int = 92) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=seeded(9))


def painted(count: int, paint: torch.Tensor) -> torch.Tensor:
    """The same gray image (S, S) many times."""
    return paint.to(torch.uint8)[None, :, :, None].expand(count, -1, -1, 3)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    count=st.integers(1, 4),
    side=st.integers(8, 40),
    size=st.integers(4, 40),
    seed=st.integers(0, 999),
    low=st.floats(0.05, 1),
)
def test_results_have_the_size_asked_for_and_stay_in_range(count, side, size, seed, low):
    images = noise(count, side)
    kept = images.clone()
    out = augment(images, size, seeded(seed), scale=(low, 1.0))
    assert out.shape == (count, size, size, 3)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert 0 <= out.min() <= out.max() <= 255
    assert torch.equal(images, kept)


def test_the_same_generator_gives_the_same_images_and_another_one_others():
    images = noise(4)
    first = augment(images, 84, seeded(1))
    assert torch.equal(first, augment(images, 84, seeded(1)))
    other = augment(images, 84, seeded(2))
    assert all(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_generator_continues_from_batch_to_batch():
    images, generator = noise(2), seeded(1)
    assert not torch.equal(augment(images, 84, generator), augment(images, 84, generator))


def test_the_global_generator_is_neither_read_nor_moved():
    images = noise(2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = augment(images, 84, seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(first, augment(images, 84, seeded(1)))


def test_images_of_a_batch_are_changed_apart():
    out = augment(noise(1).expand(8, -1, -1, -1), 84, seeded(0))
    assert all(not torch.equal(out[0], out[i]) for i in range(1, 8))


def test_about_half_of_the_images_are_flipped_and_none_is_upside_down():
    ramp = torch.arange(92.0)
    right = augment(painted(200, (100 + ramp).expand(92, 92)), 32, seeded(3)).mean(dim=(1, 3))
    flipped = (right[:, 0] > right[:, -1]).float().mean()
    assert 0.4 < float(flipped) < 0.6
    down = augment(painted(200, (100 + ramp)[:, None].expand(92, 92)), 32, seeded(3)).mean(dim=(2, 3))
    assert (down[:, 0] < down[:, -1]).all()


def shares(count: int, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of crops as shares of the image, counted on a checkerboard of 24 x 24 fields."""
    fields = torch.arange(96) // 4
    board = 60.0 + 100 * ((fields[:, None] + fields) % 2)
    out = augment(painted(count, board), 192, seeded(4), scale).mean(dim=3)
    bright = out > out.mean(dim=(1, 2), keepdim=True)
    # Changes along all rows and columns, averaged; some pixels on an edge between fields are of neither.
    across = (bright[:, :, 1:] != bright[:, :, :-1]).sum(dim=2).double().median(dim=1).values
    down = (bright[:, 1:] != bright[:, :-1]).sum(dim=1).double().median(dim=1).values
    return across.numpy() / 24, down.numpy() / 24


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_crops_have_the_share_of_the_area_that_is_asked_for(share):
    width, height = shares(60, (share, share))
    area = width * height
    assert area.mean() == pytest.approx(share, rel=0.05)
    assert np.abs(area - share).max() < 0.2 * share  # one field more or less each way


def test_crops_are_between_three_to_four_and_four_to_three():
    width, height = shares(120, (0.3, 0.6))
    ratio = width / height
    assert 0.67 < ratio.min() < 0.82
    assert 1.22 < ratio.max() < 1.5
    area = width * height
    assert 0.25 < area.min() < 0.36
    assert 0.54 < area.max() < 0.68


def test_the_whole_image_without_a_margin_stays_within_its_borders():
    # The crop lies inside the image: no mirrored border appears, so a ramp stays monotonous.
    ramp = painted(50, (60 + torch.arange(92.0)).expand(92, 92))
    rows = augment(ramp, 84, seeded(5)).mean(dim=3)[:, 40]
    steps = rows.diff(dim=1)
    assert ((steps >= -1e-3).all(dim=1) | (steps <= 1e-3).all(dim=1)).all()


def test_crops_reach_every_side_of_the_image_about_as_often():
    # Each side has a border of its own hue, which no jitter of brightness, contrast or saturation changes.
    image = torch.full((96, 96, 3), 110, dtype=torch.uint8)
    hues = {"left": (170, 80, 80), "right": (80, 170, 80), "top": (80, 80, 170), "bottom": (160, 160, 70)}
    image[:, :10], image[:, -10:] = torch.tensor(hues["left"]), torch.tensor(hues["right"])
    image[:10, 10:-10], image[-10:, 10:-10] = torch.tensor(hues["top"]), torch.tensor(hues["bottom"])
    out = augment(image.expand(300, -1, -1, -1), 32, seeded(6), (0.3, 0.3))
    red, green, blue = out.unbind(dim=3)
    seen = {
        "left": red - torch.maximum(green, blue) > 15,
        "right": green - torch.maximum(red, blue) > 15,
        "top": blue - torch.maximum(red, green) > 15,
        "bottom": torch.minimum(red, green) - blue > 15,
    }
    # A crop is 0.55 of the side, so it meets a border of 0.1 in about 0.1 / 0.45 of the cases.
    for side, where in seen.items():
        assert 0.12 < float(where.flatten(1).any(dim=1).float().mean()) < 0.4, side


@pytest.mark.parametrize("color", [(120, 120, 120), (150, 90, 60), (20, 130, 80)])
def test_an_even_color_stays_even_and_changes_by_at_most_two_fifths(color):
    images = torch.tensor(color, dtype=torch.uint8).expand(300, 40, 40, 3)
    out = augment(images, 16, seeded(7))
    torch.testing.assert_close(out, out[:, :1, :1].expand_as(out), rtol=0, atol=1e-3)
    colors = out[:, 0, 0]
    unclipped = (colors > 0).all(dim=1) & (colors < 255).all(dim=1)
    luminance = float(torch.tensor(color).float() @ GRAY)
    brightness = (colors @ GRAY)[unclipped] / luminance
    assert 0.599 < brightness.min() < 0.65
    assert 1.35 < brightness.max() < 1.401
    assert float(brightness.mean()) == pytest.approx(1.0, abs=0.05)


def test_saturation_and_contrast_move_a_color_on_the_line_through_its_gray():
    color = torch.tensor([150.0, 90.0, 60.0])
    out = augment(color.to(torch.uint8).expand(300, 40, 40, 3), 16, seeded(8))[:, 0, 0]
    unclipped = (out > 0).all(dim=1) & (out < 255).all(dim=1)
    gray = (out @ GRAY)[unclipped, None]
    brightness = gray / (color @ GRAY)
    direction = (out[unclipped] - gray) / (brightness * (color - color @ GRAY))
    torch.testing.assert_close(direction, direction[:, :1].expand_as(direction), rtol=1e-3, atol=1e-3)
    assert 0.36 - 1e-3 < direction.min() < 0.5
    assert 1.5 < direction.max() < 1.96 + 1e-3
