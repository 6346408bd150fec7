"""Teachers: networks whose pooled features a student learns to predict."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor, nn

from hmdrn_network.backbones.imagenet import ImageNetClassifier
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.hmdrn import normalize
from hmdrn_network.training.distillation.onnx_runners import OnnxModule
from hmdrn_runtime.errors import TrainingError

IMAGENET_SIDE = 160
"""Side of the input of ImageNet teachers in pixels, larger than the student's."""


class Teacher(ABC):
    """A frozen network.

    Attributes:
        name: Name for reports and cards.
        key: Identifies its features.
        width: Entries of a photo's features.
    """

    name: str
    key: str
    width: int

    @abstractmethod
    def features(self, photos: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return pooled features (N, width) of photos (N, S, S, 3) in 0-255."""


class LiteRTTeacher(Teacher):
    """A quantized LiteRT classifier; its features are the input of the last layer, average-pooled.

    Args:
        path: The `.tflite` file, with an input of uint8 RGB (1, side, side, 3).

    Raises:
        TrainingError: LiteRT is not installed, or the file is not such a classifier.
    """

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise TrainingError(f"teacher {path.name} needs LiteRT: pip install ai-edge-litert") from error
        try:
            data = path.read_bytes()
            self._interpreter: Any = Interpreter(
                model_content=data, num_threads=1, experimental_preserve_all_tensors=True
            )
        except (OSError, ValueError) as error:
            raise TrainingError(f"teacher {path} cannot be read: {error}") from error
        self._interpreter.allocate_tensors()
        entry = self._interpreter.get_input_details()[0]
        pools = [
            tensor
            for tensor in self._interpreter.get_tensor_details()
            if "AvgPool" in tensor["name"] and list(tensor["shape"][:3]) == [1, 1, 1]
        ]
        if not pools:
            raise TrainingError(f"teacher {path} has no average-pooled features: give an image classifier")
        self._input, self._side = entry["index"], int(entry["shape"][1])
        self._output, self._scale = pools[-1]["index"], float(pools[-1]["quantization"][0])
        self.width = int(pools[-1]["shape"][-1])
        self.name, self.key = path.stem, hashlib.sha256(data).hexdigest()

    def features(self, photos: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """As `Teacher.features`."""
        rows = np.empty((len(photos), self.width), np.float32)
        for row, pixels in zip(rows, _resize(photos, self._side), strict=True):
            self._interpreter.set_tensor(self._input, pixels[None])
            self._interpreter.invoke()
            row[:] = self._interpreter.get_tensor(self._output).reshape(-1).astype(np.float32) * self._scale
        return rows


def _resize(photos: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.uint8]:
    images = map(Image.fromarray, photos.round().astype(np.uint8))
    return np.stack([np.asarray(image.resize((side, side), Resampling.BICUBIC)) for image in images])


class PooledFeatures(nn.Module):
    """Pooled features (N, 1280) of photos (N, S, S, 3) in 0-255, normalization included."""

    def __init__(self, classifier: ImageNetClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """As the class says."""
        return self.classifier.features(normalize(images, self.classifier.spec))


class ImageNetTeacher(Teacher):
    """A pretrained EfficientNet-Lite, at a larger side than the student's, in ONNX Runtime.

    Args:
        name: Name of the backbone.
        threads: Threads to run it with.

    Raises:
        CheckpointError: The backbone has no ImageNet weights, or their package is missing or unexpected.
    """

    def __init__(self, name: str, threads: int) -> None:
        classifier = ImageNetClassifier(BACKBONES[name], IMAGENET_SIDE)
        self._run = OnnxModule(PooledFeatures(classifier), IMAGENET_SIDE, threads)
        self.name, self.width = name, classifier.classifier.in_features
        package = classifier.spec.pretrained
        self.key = f"{package.sha256 if package else ''} at {IMAGENET_SIDE}"

    def features(self, photos: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """As `Teacher.features`."""
        return self._run(_resize(photos, IMAGENET_SIDE).astype(np.float32))


def open_teacher(model: str, threads: int) -> Teacher:
    """Open a teacher by the path of a `.tflite` file or the name of a pretrained backbone.

    Raises:
        TrainingError: Neither of both, or a file that is not a classifier.
        CheckpointError: As `ImageNetTeacher`.
    """
    if model.endswith(".tflite"):
        return LiteRTTeacher(Path(model))
    if model not in BACKBONES:
        raise TrainingError(f"teacher {model!r} is neither a .tflite file nor one of {', '.join(BACKBONES)}")
    return ImageNetTeacher(model, threads)
