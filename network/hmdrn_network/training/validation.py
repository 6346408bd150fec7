"""Accuracy on classes that a network does not train on, measured while it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hmdrn_network.config import NetworkConfig
from hmdrn_network.hmdrn import HMDRN
from hmdrn_network.scoring import NetworkScorer
from hmdrn_runtime.datasets.dataset import Photo
from hmdrn_runtime.datasets.reading import PhotoReader
from hmdrn_runtime.errors import DatasetError, TrainingError
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting, evaluate
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

_Photos = TypeVar("_Photos")

WAY = 5
QUERIES = 15


@dataclass(frozen=True)
class PreparedInput:
    """A photo that is prepared once for many validations.

    Attributes:
        array: Pixels (S, S, 3) for the network, or a cached map (h, w, channels).
    """

    array: npt.NDArray[Any]

    def prepare(self, preprocessing: Preprocessing) -> npt.NDArray[Any]:
        """Return the array."""
        return self.array


class BaseValidation(ABC):
    """Episodic accuracy by group; the same episodes every time.

    Attributes:
        groups: Prepared photos by class, by the group's name.
        settings: Settings of the episodes by group.
    """

    groups: Mapping[str, Mapping[str, Sequence[PreparedInput]]]
    settings: Mapping[str, Sequence[EpisodeSetting]]

    @abstractmethod
    def make_scorer(self, network: HMDRN) -> NetworkScorer:
        """Return a scorer of the groups' photos with a network in evaluation mode."""

    def measure(self, network: HMDRN) -> dict[str, npt.NDArray[np.float64]]:
        """Return the percent of every episode by "<group> <way>-way <shot>-shot".

        The network is left in evaluation mode.
        """
        network.eval()
        accuracies: dict[str, npt.NDArray[np.float64]] = {}
        for name, classes in self.groups.items():
            for result in evaluate(self.make_scorer(network), classes, self.settings[name]):
                setting = result.setting
                accuracies[f"{name} {setting.way}-way {setting.shot}-shot"] = 100 * result.episode_accuracies
        return accuracies


class Validation(BaseValidation):
    """Episodic accuracy on photos of groups of classes; the same episodes every time.

    Groups of fewer than five classes are too small for episodes: they are pooled into one group.

    Args:
        groups: Photos by class, by the group's name.
        preprocessing: The way from a photo to the network's input; None for the center of photos at the
            default side.
        shots: Numbers of support photos.
        episodes: Episodes for each group and number of shots.
        report: Receives the progress.

    Attributes:
        preprocessing: The preprocessing.
        unreadable: A message for each photo that cannot be read and is left out.

    Raises:
        DatasetError: Two groups of the same name after pooling.
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
        self.preprocessing: Preprocessing = preprocessing or Preprocessing("crop", NetworkConfig().side)
        self.groups: dict[str, Mapping[str, Sequence[PreparedInput]]] = {}
        self.settings: dict[str, list[EpisodeSetting]] = {}
        reader = PhotoReader()
        for name, classes in pool_small_groups(groups).items():
            if not _fit_settings(classes, shots, episodes):
                continue
            report(f"reading {name} for validation", 0, 1)
            readable = {
                label: [PreparedInput(pixels) for _, pixels in reader.read(photos, self.preprocessing)]
                for label, photos in classes.items()
            }
            readable = {label: photos for label, photos in readable.items() if photos}
            if settings := _fit_settings(readable, shots, episodes):
                self.groups[name], self.settings[name] = readable, settings
        self.unreadable: tuple[str, ...] = tuple(reader.unreadable)
        if not self.groups:
            raise TrainingError(
                "the classes for validation have too few photos for any episode: give 2 classes of "
                f"{min(shots) + 1} photos or more, or train without validation"
            )

    def make_scorer(self, network: HMDRN) -> NetworkScorer:
        """As `BaseValidation.make_scorer`."""
        return NetworkScorer(network, self.preprocessing.mode)


def _fit_settings(
    classes: Mapping[str, Sequence[object]], shots: Sequence[int], episodes: int
) -> list[EpisodeSetting]:
    """Return the settings that photos by class allow; small classes give episodes with fewer queries."""
    sizes = sorted((len(photos) for photos in classes.values()), reverse=True)
    way = min(WAY, len(sizes))
    return [
        EpisodeSetting(way, shot, min(QUERIES, sizes[way - 1] - shot), episodes)
        for shot in shots
        if way >= 2 and sizes[way - 1] > shot
    ]


def pool_small_groups(groups: Mapping[str, Mapping[str, _Photos]]) -> dict[str, Mapping[str, _Photos]]:
    """Join groups of fewer than five classes into one, named by all of them, with classes "group/class".

    Raises:
        DatasetError: A large group has the name of the joined one.
    """
    large = {name: classes for name, classes in groups.items() if len(classes) >= WAY}
    small = {name: classes for name, classes in groups.items() if 0 < len(classes) < WAY}
    if not small:
        return large
    pool = {f"{name}/{label}": photos for name, classes in small.items() for label, photos in classes.items()}
    if (joined := "+".join(small)) in large:
        raise DatasetError(f"two groups are called {joined!r}: rename one")
    return {**large, joined: pool}
