"""Accuracy of a checkpoint beside its frozen ImageNet backbone with nearest means, on the same episodes.

python -m benchmarks.frozen_backbone DATA... [--checkpoint C] [--way 5] [--shot 1 5] [--episodes N] [--json]

The baseline is what one would use without training: pooled features of the whole ImageNet network at the same
side, centered by photos of the train split, of unit length, compared by cosine with the mean of a class.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.nearest_mean import Features, NearestMeanScorer, compute_center
from hmdrn.loading import resolve_checkpoint
from hmdrn_network.backbones.base import LevelName
from hmdrn_network.backbones.imagenet import ImageNetClassifier
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.heads.ridge import RidgeHead, gram
from hmdrn_network.hmdrn import HMDRN, normalize
from hmdrn_network.scoring import NetworkScorer
from hmdrn_runtime.datasets.dataset import Photo, open_dataset
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, compare_accuracy, evaluate
from hmdrn_runtime.images.preprocessing import Preprocessing


class GramScorer(NetworkScorer):
    """Scores episodes by Gram matrices: the logits of `NetworkScorer` with a ridge head, sooner."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__(network)
        self._grams: dict[LevelName, tuple[list[Tensor], list[Tensor]]] = {
            level: ([], []) for level in network.config.levels
        }

    def add_maps(self, maps: Mapping[LevelName, Tensor]) -> None:
        """Take in projected maps of photos by level (N, d, h, w)."""
        for kind, masked in enumerate((False, True)):
            for level, tokens in self.network.transform(maps, masked).items():
                self._grams[level][kind].extend(gram(tokens))

    @torch.inference_mode()
    def logits(
        self, support: npt.NDArray[np.int64], query: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating]:
        """Compare queries (Q,) with classes (C, shots), rows of photos; returns (Q, C)."""
        distances: dict[LevelName, Tensor] = {}
        for spec in self.network.config.level_specs:
            supports, queries = self._grams[spec.name]  # type: ignore[index]
            sums = torch.stack([torch.stack([supports[i] for i in rows]).sum(0) for rows in support])
            head = self.network.heads[spec.name]
            assert isinstance(head, RidgeHead)
            operator = head.operator(sums, sums.new_full((len(sums),), support.shape[1] * spec.tokens))
            chosen = torch.stack([queries[i] for i in query])
            distances[spec.name] = (chosen.flatten(1) @ operator.flatten(1).T).relu()  # type: ignore[index]
        logits: npt.NDArray[np.float32] = self.network.fusion(distances).numpy()
        return logits


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, help="zips or folders with splits train and val")
    parser.add_argument("--checkpoint", default=resolve_checkpoint("default"))
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shot", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    network = load_checkpoint(arguments.checkpoint).network
    preprocessing = Preprocessing("crop", network.config.side)
    features = _frozen_features(network)
    center = compute_center(features, preprocessing, arguments.data)
    results = []
    for data in arguments.data:
        classes = open_dataset(data, "val").classes
        settings = fit_settings(classes, arguments.way, arguments.shot, arguments.episodes)
        baseline = NearestMeanScorer(features, preprocessing, f"torch {torch.__version__}", center)
        pairs = zip(
            evaluate(GramScorer(network), classes, settings),
            evaluate(baseline, classes, settings),
            strict=True,
        )
        for ours, frozen in pairs:
            difference = compare_accuracy(ours, frozen)
            results.append(
                {
                    "data": data.stem,
                    **asdict(ours.setting),
                    "accuracy": ours.accuracy,
                    "ci95": ours.ci95,
                    "frozen": frozen.accuracy,
                    "difference": difference.points,
                    "difference_ci95": difference.ci95,
                }
            )
            if not arguments.json:
                print(_format_row(results[-1]), flush=True)
    if arguments.json:
        json.dump({"schema": "hmdrn.benchmark.frozen_backbone/1", "results": results}, sys.stdout, indent=2)


def _frozen_features(network: HMDRN) -> Features:
    spec = network.config.spec
    classifier = ImageNetClassifier(spec, network.config.side)

    @torch.inference_mode()
    def compute(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        features: npt.NDArray[np.float32] = classifier.features(
            normalize(torch.from_numpy(pixels), spec)
        ).numpy()
        return features

    return compute


def fit_settings(
    classes: Mapping[str, Sequence[Photo]], way: int, shots: Sequence[int], episodes: int
) -> list[EpisodeSetting]:
    """Return the settings that the classes allow: one photo of each is a query, or up to 16."""
    sizes = sorted((len(photos) for photos in classes.values()), reverse=True)
    fitting = sorted({min(shot, sizes[-1] - 1) for shot in shots})
    return [EpisodeSetting(way, shot, min(16, sizes[way - 1] - shot), episodes) for shot in fitting]


def _format_row(result: dict[str, Any]) -> str:
    setting = f"{result['data']:16} {result['way']}-way {result['shot']}-shot"
    accuracy = f"{result['accuracy']:.2f} ± {result['ci95']:.2f} %, frozen {result['frozen']:.2f}"
    return f"{setting}  {accuracy}, difference {result['difference']:+.2f} ± {result['difference_ci95']:.2f}"


if __name__ == "__main__":
    main()
