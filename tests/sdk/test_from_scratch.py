"""A network trained on drawn specimens recognizes unseen species, also as a bundle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hmdrn.loading import load
from hmdrn_export.exporter import export_bundle
from hmdrn_network.checkpoints import ModelCard, load_checkpoint
from hmdrn_network.config import NetworkConfig
from hmdrn_network.scoring import NetworkScorer
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.photos import PhotoGroup
from hmdrn_network.training.run import train
from hmdrn_runtime.evaluation.evaluation import BundleScorer, EpisodeSetting, evaluate
from hmdrn_runtime.specimens.drawing import draw_specimens

TRAINED, PHOTOS = range(100, 132), 14
UNSEEN = range(8)
CONFIG = TrainingConfig(episodes=130, way=8, max_shot=4, queries=4, warmup=20)


class Drawn:
    """A specimen as a photograph of a data set."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def prepare(self, mode: str, side: int = 0) -> npt.NDArray[np.uint8]:
        return self.pixels


@pytest.mark.soak
def test_a_network_trained_from_scratch_names_new_species_as_its_bundle(tmp_path):
    images = torch.from_numpy(draw_specimens(TRAINED, PHOTOS, size=96).reshape(-1, 96, 96, 3))
    group = PhotoGroup("drawn", images, torch.arange(len(images)).split(PHOTOS))
    train(NetworkConfig(), [group], CONFIG, tmp_path / "run", ModelCard("drawn"))
    checkpoint = load_checkpoint(tmp_path / "run" / "model.safetensors")
    export_bundle(checkpoint, tmp_path / "drawn.hmdrn")

    photos = draw_specimens(UNSEEN, 12, size=84)
    classes = {f"species {i}": [Drawn(pixels) for pixels in photos[i]] for i in UNSEEN}
    setting = EpisodeSetting(way=5, shot=5, queries=7, episodes=100)
    (torch_result,) = evaluate(NetworkScorer(checkpoint.network), classes, [setting])
    (device_result,) = evaluate(BundleScorer(load(tmp_path / "drawn.hmdrn")), classes, [setting])
    assert torch_result.accuracy > 90
    assert device_result.accuracy == pytest.approx(torch_result.accuracy, abs=0.1)
