from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, array_shapes, gram_sum, packed_gram
from hmdrn_runtime.specimens.drawing import draw_specimens


def network(statistics: str, *levels: tuple[int, int], head: str = "ridge") -> Network:
    """A network of levels (tokens, channels)."""
    specs = tuple(Level(f"level{i}", channels, tokens) for i, (tokens, channels) in enumerate(levels))
    return Network("f" * 64, "conv4", head, specs, Fusion({s.name: 1.0 for s in specs}, 1.0, 1.0), statistics)


SMALL = ((3, 4), (5, 2))
WIDTHS = {"conv4": ((25, 64), (100, 64)), "resnet12": ((25, 640), (100, 320))}


def photo(net: Network, seed: int) -> PhotoStatistics:
    rng = np.random.default_rng(seed)
    arrays = {
        # Of very different sizes, so that an addition in another order rounds otherwise.
        name: (rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 10, shape)).astype(np.float32)
        for name, shape in array_shapes(net).items()
    }
    return PhotoStatistics(f"{seed:064x}", "fp32", arrays)


def packed_by_hand(levels: tuple[tuple[int, int], ...], tokens: np.ndarray) -> np.ndarray:
    """Upper triangles of S'S, row by row, by NumPy's product in float64."""
    parts, start = [], 0
    for count, channels in levels:
        S = tokens[start : start + count * channels].reshape(count, channels).astype(np.float64)
        gram = S.T @ S
        parts += [gram[i, j] for i in range(channels) for j in range(i, channels)]
        start += count * channels
    assert start == len(tokens)
    return np.array(parts)


def test_ridge_keeps_packed_gram_matrices_of_both_branches():
    assert array_shapes(network("gram", *SMALL)) == {"support": (10 + 3,), "query": (10 + 3,)}


def test_ridge_of_a_wide_backbone_keeps_tokens_of_both_branches():
    assert array_shapes(network("tokens", *SMALL)) == {"support": (12 + 10,), "query": (12 + 10,)}


def test_attention_keeps_keys_and_values_of_every_level():
    assert array_shapes(network("keys_values", *SMALL, head="attention")) == {
        "k_level0": (3, 4),
        "v_level0": (3, 4),
        "k_level1": (5, 2),
        "v_level1": (5, 2),
    }


def test_each_backbone_keeps_the_form_with_fewer_numbers():
    sizes = {
        (name, form): array_shapes(network(form, *levels))["support"][0]
        for name, levels in WIDTHS.items()
        for form in ("gram", "tokens")
    }
    assert sizes == {
        ("conv4", "gram"): 4160,
        ("conv4", "tokens"): 8000,
        ("resnet12", "gram"): 205_120 + 51_360,
        ("resnet12", "tokens"): 48_000,
    }


def test_a_kept_gram_matrix_is_given_as_it_is_in_float64():
    net = network("gram", *SMALL)
    kept = photo(net, 1).arrays["support"]
    found = packed_gram(net, kept)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, kept)
    found[:] = 0
    assert kept.all(), "the photo's own array was handed out"


@pytest.mark.parametrize("levels", [SMALL, WIDTHS["conv4"], WIDTHS["resnet12"]], ids=["small", *WIDTHS])
def test_the_gram_matrix_of_tokens_is_that_of_a_matrix_product_in_float64(levels):
    net = network("tokens", *levels)
    tokens = np.random.default_rng(3).standard_normal(array_shapes(net)["support"]).astype(np.float32)
    found = packed_gram(net, tokens)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, packed_by_hand(levels, tokens), rtol=1e-12, atol=1e-12)


def test_the_gram_matrix_of_tokens_is_added_token_by_token_to_the_last_bit():
    net = network("tokens", *SMALL)
    tokens = photo(net, 5).arrays["support"]
    expected, start = [], 0
    for count, channels in SMALL:
        rows = [
            [float(x) for x in tokens[start + t * channels : start + (t + 1) * channels]]
            for t in range(count)
        ]
        for i, j in itertools.combinations_with_replacement(range(channels), 2):
            total = 0.0
            for row in rows:
                total += row[i] * row[j]
            expected.append(total)
        start += count * channels
    assert packed_gram(net, tokens).tolist() == expected


def test_tokens_and_gram_matrices_give_the_same_sum():
    levels = WIDTHS["conv4"]
    by_tokens, by_gram = network("tokens", *levels), network("gram", *levels)
    rng = np.random.default_rng(2)
    tokens = [rng.standard_normal(8000).astype(np.float32) for _ in range(3)]
    kept = [
        PhotoStatistics(f"{i:064x}", "fp32", {"support": t, "query": t[::-1].copy()})
        for i, t in enumerate(tokens)
    ]
    packed = [
        PhotoStatistics(
            p.digest, "fp32", {n: packed_by_hand(levels, a).astype(np.float32) for n, a in p.arrays.items()}
        )
        for p in kept
    ]
    # Kept Gram matrices were rounded to float32 once a photo.
    np.testing.assert_allclose(gram_sum(by_tokens, kept), gram_sum(by_gram, packed), rtol=0, atol=3e-5)


@pytest.mark.parametrize("form", ["gram", "tokens"])
@settings(deadline=None)
@given(order=st.permutations(range(8)))
def test_photos_in_any_order_give_the_same_bits(form, order):
    net = network(form, *SMALL)
    photos = [photo(net, seed) for seed in range(8)]
    assert gram_sum(net, [photos[i] for i in order]).tobytes() == gram_sum(net, photos).tobytes()


def test_addition_in_another_order_would_give_other_bits():
    # Else the test above could not fail.
    net = network("gram", *SMALL)
    grams = [packed_gram(net, photo(net, seed).arrays["support"]) for seed in range(8)]
    assert sum(grams).tobytes() != sum(grams[::-1]).tobytes()


def test_a_sum_is_that_of_the_support_branch_alone_in_the_order_of_the_digests():
    net = network("gram", *SMALL)
    photos = [photo(net, seed) for seed in (2, 0, 1)]
    expected = np.zeros(net.packed)
    for one in (photos[1], photos[2], photos[0]):
        expected = expected + one.arrays["support"].astype(np.float64)
    assert gram_sum(net, iter(photos)).tobytes() == expected.tobytes()


def test_a_sum_is_in_float64_and_keeps_what_float32_would_lose():
    net = network("gram", (1, 1))
    large, small = ({"support": np.array([v], np.float32)} for v in (2.0**24, 1.0))
    photos = [PhotoStatistics("0" * 64, "fp32", large), PhotoStatistics("1" * 64, "fp32", small)]
    assert gram_sum(net, photos).tolist() == [2.0**24 + 1]


def test_the_sum_of_no_photos_is_zero():
    net = network("gram", *SMALL)
    assert gram_sum(net, []).tolist() == [0.0] * net.packed


def test_two_photos_are_the_same_where_digest_variant_and_content_are():
    net = network("gram", *SMALL)
    one, other = photo(net, 1), photo(net, 2)
    assert one == PhotoStatistics(one.digest, one.variant, {n: a.copy() for n, a in one.arrays.items()})
    assert one != PhotoStatistics(one.digest, one.variant, other.arrays)
    assert one != PhotoStatistics(one.digest, "fp16", one.arrays)
    assert one != PhotoStatistics(other.digest, one.variant, one.arrays)


@pytest.mark.slow
def test_the_tokens_that_a_wide_network_keeps_give_the_gram_matrices_of_its_graph(exported):
    bundle = open_bundle(exported("resnet12", "ridge"))
    net = bundle.manifest.network
    assert net.statistics == "tokens"
    pixels = draw_specimens([0, 1], 1, size=84).reshape(-1, 84, 84, 3)
    outputs = open_backend(bundle, threads=1).run("enroll", {"images": pixels})
    for branch in ("support", "query"):
        for tokens, gram in zip(outputs[f"{branch}_tokens"], outputs[f"{branch}_gram"], strict=True):
            scale = packed_gram(net, tokens).max()
            np.testing.assert_allclose(gram, packed_gram(net, tokens), rtol=0, atol=2e-6 * scale)
