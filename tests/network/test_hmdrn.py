from __future__ import annotations

import numpy as np
import pytest
import torch

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN, Fusion, normalize

WAY, SHOT, QUERIES = 3, 2, 4


def network(head: str = "ridge", levels: tuple[str, ...] = ("high", "mid")) -> HMDRN:
    """An untrained Conv-4 with its constants and statistics moved off their starts."""
    torch.manual_seed(5)
    made = HMDRN(NetworkConfig("conv4", head, levels)).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(6)
    for value in made.state_dict().values():
        if value.is_floating_point():
            value.mul_(0.9 + 0.2 * torch.rand(value.shape, generator=generator))
    return made


@pytest.fixture(scope="module")
def photos() -> tuple[torch.Tensor, torch.Tensor]:
    """Support (way, shot, 84, 84, 3) and query (B, 84, 84, 3)."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (WAY * SHOT + QUERIES, 84, 84, 3), dtype=torch.uint8, generator=generator)
    return noise[: WAY * SHOT].unflatten(0, (WAY, SHOT)), noise[WAY * SHOT :]


def test_photos_are_scaled_and_normalized_by_imagenets_mean_and_deviation():
    images = np.random.default_rng(0).integers(0, 256, (2, 84, 84, 3), dtype=np.uint8)
    expected = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    for given in (torch.from_numpy(images), torch.from_numpy(images).float()):
        ours = normalize(given, NetworkConfig().spec)
        assert ours.dtype == torch.float32
        np.testing.assert_allclose(ours.numpy(), expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)


def test_efficientnet_lite_takes_photos_scaled_to_minus_one_to_one():
    images = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    ours = normalize(torch.from_numpy(images), NetworkConfig("efficientnet-lite0").spec)
    expected = (images.astype(np.float64) - 127) / 128
    np.testing.assert_allclose(ours.numpy(), expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)


def test_projected_levels_give_tokens_of_their_width():
    torch.manual_seed(0)
    model = HMDRN(NetworkConfig("efficientnet-lite0", side=64)).requires_grad_(False).eval()
    photos = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    maps = model.features(photos)
    assert {name: tuple(m.shape) for name, m in maps.items()} == {
        "high": (5, 128, 2, 2),
        "mid": (5, 64, 4, 4),
    }
    raw = model.backbone(normalize(photos, model.config.spec))
    projection = model.projections["mid"]
    weight = projection.conv.weight[:, :, 0, 0].double()
    by_hand = torch.einsum("oc,nchw->nohw", weight, raw["mid"].double()) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(maps["mid"].double(), by_hand, rtol=1e-5, atol=1e-5)
    assert model(photos[:4].unflatten(0, (2, 2)), photos[4:]).shape == (1, 2)


@pytest.mark.parametrize(("backbone", "channels"), [("conv4", 64), ("resnet12", 640)])
def test_fusion_is_the_formula(backbone, channels):
    fusion = Fusion(NetworkConfig(backbone)).double()
    with torch.no_grad():
        fusion.scale.fill_(3.5)
        fusion.weight["high"].fill_(0.4)
        fusion.weight["mid"].fill_(0.7)
    high, mid = np.random.default_rng(0).uniform(0, 100, (2, 4, 5))
    logits = fusion({"high": torch.from_numpy(high), "mid": torch.from_numpy(mid)})
    expected = -(0.4 * high + 0.7 * mid) * 3.5 / (25 * channels)
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-7)


def test_the_divisor_is_that_of_the_high_level_for_the_mid_level_alone():
    fusion = Fusion(NetworkConfig("resnet12", "ridge", ("mid",)))
    logits = fusion({"mid": torch.tensor([[1000.0]])})
    assert logits.item() == pytest.approx(-(0.5 * 1000) * 10 / (25 * 640))


@pytest.mark.parametrize(
    ("backbone", "mid"),
    [
        ("conv4", 25 * 64 / (100 * 64)),
        ("resnet12", 25 * 640 / (100 * 320)),
        ("efficientnet-lite0", 16 * 128 / (64 * 64)),
    ],
)
def test_fusion_starts_with_one_weight_per_entry_of_a_map(backbone, mid):
    fusion = Fusion(NetworkConfig(backbone))
    assert {name: float(weight.detach()) for name, weight in fusion.weight.items()} == {
        "high": 1.0,
        "mid": mid,
    }
    assert {name for name, _ in fusion.named_parameters()} == {"scale", "weight.high", "weight.mid"}


@pytest.mark.parametrize("levels", [("high", "mid"), ("high",), ("mid",)], ids="+".join)
@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_logits_of_an_episode_are_encode_and_distances_by_hand(photos, head, levels):
    model = network(head, levels)
    support, query = photos
    # Class by class and photo by photo, so that nothing of forward's batching is shared.
    queries = [model.encode(photo[None], masked=True) for photo in query]
    total = torch.zeros(QUERIES, WAY)
    for label in range(WAY):
        tokens = [model.encode(photo[None], masked=False) for photo in support[label]]
        of_class = {name: torch.cat([t[name] for t in tokens], dim=1) for name in levels}
        for b in range(QUERIES):
            for name in levels:
                distance = model.heads[name](queries[b][name], of_class[name])
                total[b, label] -= float(model.fusion.weight[name] * distance)
    expected = total * model.fusion.scale / (25 * 64)
    logits = model(support, query)
    assert logits.shape == (QUERIES, WAY)
    torch.testing.assert_close(logits, expected, rtol=2e-4, atol=0)


def test_encode_gives_the_tokens_of_every_level(photos):
    tokens = network().encode(photos[1], masked=True)
    assert {name: tuple(t.shape) for name, t in tokens.items()} == {
        "high": (QUERIES, 25, 64),
        "mid": (QUERIES, 100, 64),
    }


def test_support_photos_take_the_unmasked_branch_queries_the_masked_one(photos):
    model = network()
    taken = []
    for transformer in model.transformers.values():
        transformer.register_forward_pre_hook(
            lambda _, args, kwargs: taken.append((len(args[0]), (*args, *kwargs.values())[1])),
            with_kwargs=True,
        )
    model(*photos)
    assert sorted(taken) == [(QUERIES, True)] * 2 + [(WAY * SHOT, False)] * 2


def test_masked_and_unmasked_tokens_differ(photos):
    model = network()
    support, query = (model.encode(photos[1], masked=masked) for masked in (False, True))
    for name in support:
        assert (support[name] - query[name]).abs().max() > 1e-3


def test_the_order_of_classes_is_that_of_the_logits(photos):
    model = network()
    support, query = photos
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        model(support[order], query), model(support, query)[:, order], rtol=1e-4, atol=1e-5
    )


def test_a_query_does_not_depend_on_the_other_queries(photos):
    model = network("attention")
    support, query = photos
    alone = torch.cat([model(support, q[None]) for q in query])
    torch.testing.assert_close(model(support, query), alone, rtol=1e-4, atol=1e-5)


def test_a_query_that_is_a_shot_is_nearest_to_its_class(photos):
    model = network()
    support, _ = photos
    tokens = {name: model.encode(support.flatten(0, 1), masked=False)[name] for name in ("high", "mid")}
    by_class = {name: t.reshape(WAY, -1, 64) for name, t in tokens.items()}
    logits = model.fusion(model.distances(tokens, by_class))
    assert logits.argmax(dim=1).tolist() == [label for label in range(WAY) for _ in range(SHOT)]


@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_padded_classes_have_the_distances_of_unpadded_ones(photos, head):
    model = network(head)
    support, query = photos
    queries = model.encode(query, masked=True)
    shots = {name: t.reshape(WAY, -1, 64) for name, t in model.encode(support.flatten(0, 1), False).items()}
    plain = model.distances(queries, shots)
    padded = {name: torch.cat([t, torch.full_like(t, 9.0)], dim=1) for name, t in shots.items()}
    valid = {name: (torch.arange(t.shape[1]) < t.shape[1] // 2).expand(WAY, -1) for name, t in padded.items()}
    for name, distance in model.distances(queries, padded, valid).items():
        torch.testing.assert_close(distance, plain[name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("level", ["high", "mid"])
def test_a_network_of_one_level_is_that_level_of_the_whole_one(photos, level):
    whole = network()
    part = HMDRN(NetworkConfig("conv4", "ridge", (level,))).requires_grad_(False).eval()
    own = part.state_dict()
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in own})
    other = {"high": "mid", "mid": "high"}[level]
    assert {n for n in whole.state_dict() if n not in own} == {
        n for n in whole.state_dict() if f".{other}." in n or n.endswith(f".{other}")
    }
    tokens, expected = part.encode(photos[1], masked=True), whole.encode(photos[1], masked=True)
    assert set(tokens) == {level}
    assert torch.equal(tokens[level], expected[level])
    whole.fusion.weight[other].fill_(0.0)
    torch.testing.assert_close(part(*photos), whole(*photos), rtol=1e-6, atol=1e-7)


def test_in_training_support_and_queries_share_the_batchs_statistics(photos):
    model = network().train()
    tracked = model.backbone.blocks[0].norm.num_batches_tracked
    before = int(tracked)
    assert model(*photos).isfinite().all()
    assert int(tracked) == before + 1


def test_every_parameter_takes_part_in_the_logits(photos):
    for head in ("ridge", "attention"):
        torch.manual_seed(0)
        model = HMDRN(NetworkConfig("conv4", head)).train()
        torch.nn.functional.cross_entropy(model(*photos), torch.tensor([0, 1, 2, 0])).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
