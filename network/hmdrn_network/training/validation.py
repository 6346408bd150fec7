"""How well a network does on classes that it does not train on, while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.scoring import NetworkScorer
from hmdrn_runtime.datasets.dataset import Photo
from hmdrn_runtime.errors import DatasetError, TrainingError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, evaluate
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

WAY = 5
QUERIES = 15


@dataclass(frozen=True)
class _Prepared:
    """A photo that was prepared once, for the many times that it is looked at."""

    pixels: npt.NDArray[np.uint8]

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        return self.pixels


class Validation:
    """Episodic accuracy on groups of classes; the same episodes every time.

    Groups of fewer than five classes have no episodes of their own: they are pooled into one.

    Args:
        groups: Photographs by class, by the group's name.
        preprocessing: The way from a photo to the network's input; None for the center of photos at the
            default side.
        shots: Numbers of support photos.
        episodes: Episodes for each group and number of shots.

    Raises:
        ImageError: A photo that cannot be read.
        TrainingError: No group has enough photos for an episode.
    """

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, Sequence[Photo]]],
        preprocessing: Preprocessing | None = None,
        shots: Sequence[int] = (1, 5),
        episodes: int = 200,
        report: ProgressCallback = ignore_progress,
    ) -> None:
        self.preprocessing = preprocessing or Preprocessing("crop", NetworkConfig().side)
        self.groups: dict[str, Mapping[str, Sequence[_Prepared]]] = {}
        self.settings: dict[str, list[EpisodeSetting]] = {}
        for name, classes in _with_small_ones_pooled(groups).items():
            sizes = sorted((len(photos) for photos in classes.values()), reverse=True)
            way = min(WAY, len(sizes))
            # Small classes still give episodes, with fewer queries.
            settings = [
                EpisodeSetting(way, shot, min(QUERIES, sizes[way - 1] - shot), episodes)
                for shot in shots
                if way >= 2 and sizes[way - 1] > shot
            ]
            if not settings:
                continue
            self.settings[name] = settings
            self.groups[name] = {
                label: [self._prepare(photo, name, report) for photo in photos]
                for label, photos in classes.items()
            }
        if not self.groups:
            raise TrainingError(
                "the classes for validation have too few photos for any episode: give 2 classes of "
                f"{min(shots) + 1} photos or more, or train without validation"
            )

    def _prepare(self, photo: Photo, name: str, report: ProgressCallback) -> _Prepared:
        report(f"reading {name} for validation", 0, 1)
        return _Prepared(photo.prepare(self.preprocessing))

    def measure(self, network: HMDRN) -> dict[str, float]:
        """Percent, by "<group> <way>-way <shot>-shot"; the network is left in evaluation mode."""
        network.eval()
        found: dict[str, float] = {}
        for name, classes in self.groups.items():
            scorer = NetworkScorer(network, self.preprocessing.mode)
            for one in evaluate(scorer, classes, self.settings[name]):
                found[f"{name} {one.setting.way}-way {one.setting.shot}-shot"] = one.accuracy
        return found


def _with_small_ones_pooled(
    groups: Mapping[str, Mapping[str, Sequence[Photo]]],
) -> dict[str, Mapping[str, Sequence[Photo]]]:
    large = {name: classes for name, classes in groups.items() if len(classes) >= WAY}
    small = {name: classes for name, classes in groups.items() if 0 < len(classes) < WAY}
    if not small:
        return large
    pool = {f"{name}/{label}": photos for name, classes in small.items() for label, photos in classes.items()}
    if set(large) & {"+".join(small)}:
        raise DatasetError(f"two groups are called {'+'.join(small)!r}: rename one")
    return {**large, "+".join(small): pool}
