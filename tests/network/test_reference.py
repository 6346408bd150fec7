"""The network gives the outputs of the authors' model on fixed images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.config import NetworkConfig

CONV4 = [f"conv4_{data}_5way_{shot}shot.npz" for data in ("cub", "cars", "dogs") for shot in (1, 5)]
FILES = [*CONV4, "resnet12_filled_5way_1shot.npz"]
SIDES = {"high": 5, "mid": 10}
TOLERANCE = 1e-4


def as_map(tokens: torch.Tensor, side: int) -> np.ndarray:
    """Tokens (N, T, d) as the authors' maps (N, d, side, side)."""
    return tokens.numpy().transpose(0, 2, 1).reshape(tokens.shape[0], -1, side, side)


def assert_near(ours: np.ndarray, authors: np.ndarray) -> None:
    """Agreement relative to the largest magnitude of the array."""
    assert ours.shape == authors.shape
    assert np.abs(ours.astype(np.float64) - authors).max() <= TOLERANCE * np.abs(authors).max()


@pytest.fixture(scope="module", params=FILES)
def case(
    request: pytest.FixtureRequest, shared: Callable[[str], Path], resnet12_filled: Path
) -> SimpleNamespace:
    """A reference file, the network of its weights, and its outputs step by step."""
    with np.load(shared(f"reference/{request.param}")) as file:
        authors = {name: file[name] for name in file.files}
    if request.param.startswith("resnet12"):
        checkpoint = resnet12_filled
    else:
        checkpoint = shared(f"reference/{request.param.split('_5way')[0]}.pth")
    network = load_checkpoint(checkpoint).network
    way, shot = int(authors["way"]), int(authors["shot"])
    images = torch.from_numpy(authors["images"])
    with torch.no_grad():
        maps = network.features(images)
        support = network.transform({n: m[: way * shot] for n, m in maps.items()}, masked=False)
        query = network.transform({n: m[way * shot :] for n, m in maps.items()}, masked=True)
        by_class = {n: t.reshape(way, -1, t.shape[-1]) for n, t in support.items()}
        distances = network.distances(query, by_class)
        unmasked = network.transform({n: m[way * shot :] for n, m in maps.items()}, masked=False)
    return SimpleNamespace(
        authors=authors,
        network=network,
        way=way,
        shot=shot,
        images=images,
        maps=maps,
        support=support,
        query=query,
        unmasked=unmasked,
        distances=distances,
    )


def test_every_reference_file_is_compared(shared):
    assert sorted(path.name for path in shared("reference").glob("*.npz")) == sorted(FILES)


def test_backbone_head_and_levels_are_recognized(case):
    backbone = "resnet12" if case.maps["high"].shape[1] == 640 else "conv4"
    assert case.network.config == NetworkConfig(backbone, "attention", ("high", "mid"))
    assert case.maps["high"].shape[1] == case.authors["backbone_5x5"].shape[1]


@pytest.mark.parametrize("level", SIDES)
def test_backbone_maps_are_the_authors(case, level):
    side = SIDES[level]
    assert_near(case.maps[level][:2].numpy(), case.authors[f"backbone_{side}x{side}"])


@pytest.mark.parametrize("level", SIDES)
def test_support_tokens_are_the_authors(case, level):
    side = SIDES[level]
    assert_near(as_map(case.support[level][:2], side), case.authors[f"support_{side}x{side}"])


@pytest.mark.parametrize("level", SIDES)
def test_query_tokens_are_the_authors(case, level):
    side = SIDES[level]
    assert_near(as_map(case.query[level][:2], side), case.authors[f"query_{side}x{side}"])


def test_without_the_mask_some_query_tokens_would_not_be_the_authors(case):
    # Else the test above could not tell the two branches apart. Released weights mask to no effect in one
    # level each (CUB and cars high, dogs mid: their q are nearly zero), so one level has to do.
    relative = {}
    for level, side in SIDES.items():
        authors = case.authors[f"query_{side}x{side}"]
        difference = np.abs(as_map(case.unmasked[level][:2], side) - authors).max()
        relative[level] = difference / np.abs(authors).max()
    assert max(relative.values()) > 10 * TOLERANCE, relative


def test_distances_are_the_authors_in_every_element(case):
    weight = {n: w.detach() for n, w in case.network.fusion.weight.items()}
    fused = -(weight["high"] * case.distances["high"] + weight["mid"] * case.distances["mid"]).numpy()
    assert_near(fused, case.authors["neg_sq_dist"])
    np.testing.assert_allclose(fused, case.authors["neg_sq_dist"], rtol=TOLERANCE, atol=0)


def test_log_probabilities_are_the_authors(case):
    way, shot, images = case.way, case.shot, case.images
    with torch.no_grad():
        logits = case.network(images[: way * shot].unflatten(0, (way, shot)), images[way * shot :])
    log_prob = torch.log_softmax(logits, dim=1).numpy()
    assert_near(log_prob, case.authors["log_prob"])
    assert (log_prob.argmax(axis=1) == case.authors["log_prob"].argmax(axis=1)).all()


def test_the_authors_position_tables_are_the_derived_ones(shared):
    path = shared("reference/conv4_cub.pth")
    network = load_checkpoint(path).network
    entries = torch.load(path, map_location="cpu", weights_only=True)
    for number, level in (("1", "high"), ("2", "mid")):
        table = entries[f"fsrm{number}.transformer.positional_emb"][0]
        torch.testing.assert_close(network.transformers[level].positions, table, rtol=0, atol=2e-5)
