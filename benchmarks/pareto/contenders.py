"""Models of the comparison: bundles, and frozen networks with nearest means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import hmdrn
from benchmarks.nearest_mean import Features, NearestMeanScorer, compute_center, scale_to_unit
from hmdrn_network.backbones.imagenet import ImageNetClassifier
from hmdrn_network.backbones.registry import BACKBONES
from hmdrn_network.training.distillation.onnx_runners import OnnxModule
from hmdrn_network.training.distillation.teachers import LiteRTTeacher, PooledFeatures
from hmdrn_runtime.evaluation.evaluation import BundleScorer, Scorer
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.profiling.timing import Call
from hmdrn_runtime.specimens.drawing import draw_specimens

WAY, SHOT = 5, 5
"""Species and photos of the timed gallery."""
_IMAGENET = "efficientnet-lite0"
_LITERT_SIDE = 224


@dataclass(frozen=True)
class Contender:
    """A way to recognize species from a few photos.

    Attributes:
        name: Name in tables and the picture.
        ours: True for a bundle of this project.
        side: Side of its input in pixels.
        bytes: Size of the files that a device needs for it.
        make_scorer: Opens it for episodes.
        make_call: Opens it on one thread, enrolls five drawn species of five photos, and returns a call that
            classifies one prepared photo.
    """

    name: str
    ours: bool
    side: int
    bytes: int
    make_scorer: Callable[[], Scorer]
    make_call: Callable[[], Call]


def open_bundle(bundle: str, variant: str | None) -> Contender:
    """Return a bundle of this project; the fastest variant for this machine if `variant` is None."""
    birds = hmdrn.load(bundle, threads=1, variant=variant)
    files = {
        file
        for name in birds.bundle.manifest.variants[birds.bundle.variant]
        for file in birds.bundle.graph_files(name)
    }
    size = sum((birds.bundle.path / file).stat().st_size for file in files)
    support, queries = _draw(birds.preprocessing.side)
    for label, photos in enumerate(support):
        birds.enroll(str(label), photos)
    turns = cycle(queries)
    name = f"hmdrn {birds.bundle.path.stem}, {birds.bundle.variant}"
    return Contender(
        name,
        True,
        birds.preprocessing.side,
        size,
        lambda: BundleScorer(hmdrn.load(bundle, variant=variant)),
        lambda: lambda: birds.classify(next(turns)),
    )


def open_imagenet(side: int, data: Sequence[Path]) -> Contender:
    """Return the frozen ImageNet network with nearest means, in ONNX Runtime."""
    spec = BACKBONES[_IMAGENET]
    classifier = ImageNetClassifier(spec, side)
    model = OnnxModule(PooledFeatures(classifier), side, threads=1)

    def compute(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return model(pixels.astype(np.float32))

    parameters = sum(p.numel() for part in (classifier.backbone, classifier.head) for p in part.parameters())
    name = f"frozen {_IMAGENET}, ONNX Runtime"
    return _contend(name, side, 4 * parameters, compute, compute, data)


def open_litert(path: Path, data: Sequence[Path]) -> Contender:
    """Return the frozen features of a LiteRT classifier with nearest means.

    The timed interpreter computes the classifier's own output, without keeping the features that precede it:
    keeping them costs it time that an application with a model cut there would not pay.
    """
    from ai_edge_litert.interpreter import Interpreter

    teacher = LiteRTTeacher(path)

    def compute(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return teacher.features(pixels.astype(np.float32))

    interpreter: Any = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry, output = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        interpreter.set_tensor(entry, pixels)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output), np.float32)

    name = f"frozen {path.stem}, LiteRT INT8"
    return _contend(name, _LITERT_SIDE, path.stat().st_size, compute, run, data)


def _contend(
    name: str, side: int, size: int, compute: Features, timed: Features, data: Sequence[Path]
) -> Contender:
    preprocessing = Preprocessing("crop", side)

    def make_call() -> Call:
        support, queries = _draw(side)
        features = [
            scale_to_unit(np.concatenate([timed(photo[None]) for photo in photos])) for photos in support
        ]
        means = scale_to_unit(np.stack([rows.mean(axis=0) for rows in features]))
        turns = cycle(queries)
        return lambda: scale_to_unit(timed(next(turns)[None])) @ means.T

    return Contender(
        f"{name}, {side} px",
        False,
        side,
        size,
        lambda: NearestMeanScorer(compute, preprocessing, name, compute_center(compute, preprocessing, data)),
        make_call,
    )


def _draw(side: int) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.uint8]]]:
    """Return support photos (5, 5, side, side, 3) and five query photos."""
    drawn = draw_specimens(range(WAY), SHOT + 1, size=side)
    return drawn[:, :SHOT], list(drawn[:, SHOT])
