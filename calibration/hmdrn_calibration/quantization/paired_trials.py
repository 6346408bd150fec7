"""A quick comparison of candidates: the same supports and queries for all, every photo looked at once.

The accuracy that a bundle is held to is measured by `evaluation.evaluate`. That solves for every class of
every episode anew, which is more than the choice between dozens of candidates needs: here the supports of a
round serve many episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.quantization.calibration_data import Pixels
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.evaluation.evaluation import BundleScorer, Setting

ROUNDS = 6
CLASSES = 10
"""Classes of a round at most."""
EPISODES = 50
"""Episodes of a round."""


@dataclass(frozen=True, eq=False)
class Round:
    """Supports and queries, and episodes among them.

    Attributes:
        support: Rows of photos, int64 (classes, shot).
        query: Rows of photos, int64 (classes, queries).
        episodes: Classes of every episode, int64 (EPISODES, way).
    """

    support: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64]
    episodes: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a candidate gave in the rounds of every setting.

    Attributes:
        distances: Distances of queries to classes by level, of all rounds in a row.
        accuracies: Share of right answers, 0-1, by setting, round and episode.
    """

    distances: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        """Mean over episodes and settings, in percent."""
        return 100 * float(self.accuracies.mean())

    def lost(self, reference: Outcome) -> tuple[float, float]:
        """Points that the reference is more accurate, and the half-width of their 95 % interval.

        Rounds are the units: episodes of one round share its supports, and vary less than they should.
        """
        points = 100 * (reference.accuracies - self.accuracies).mean(axis=2)
        return mean_and_interval(points)

    def distance_error(self, reference: Outcome) -> float:
        """Mean relative difference of distances."""
        return float(np.mean(np.abs(self.distances / reference.distances - 1)))


class Trial:
    """Rounds that are drawn once.

    Args:
        classes: Photos of each class, uint8 (N, 84, 84, 3).
        settings: Way, shots and queries.
        rounds: Rounds of each setting.
        seed: The same seed draws the same rounds.
    """

    def __init__(
        self, classes: Sequence[Pixels], settings: Sequence[Setting], rounds: int = ROUNDS, seed: int = 0
    ) -> None:
        sizes = [len(photos) for photos in classes]
        drawn = [[_draw(sizes, s, (seed, s.shot, i)) for i in range(rounds)] for s in settings]
        used = np.unique(
            np.concatenate([r.ravel() for of in drawn for x in of for r in (x.support, x.query)])
        )
        # Only photos that are drawn are looked at: rows are renumbered to them.
        self._rounds = [
            [Round(np.searchsorted(used, r.support), np.searchsorted(used, r.query), r.episodes) for r in of]
            for of in drawn
        ]
        self._photos: Pixels = np.concatenate(list(classes))[used]

    def run(self, candidate: BundleScorer) -> Outcome:
        """What a candidate gives that has seen no photo yet."""
        candidate.see(self._photos)
        distances: list[npt.NDArray[np.float64]] = []
        accuracies: list[list[npt.NDArray[np.float64]]] = []
        for rounds in self._rounds:
            accuracies.append([])
            for drawn in rounds:
                scores = candidate.scores(drawn.support, drawn.query.ravel())
                distances += [table.astype(np.float64).ravel() for table in _tables(scores.distances)]
                accuracies[-1].append(_accuracies(scores.logits, drawn))
        return Outcome(np.concatenate(distances), np.array(accuracies))


def _draw(sizes: Sequence[int], setting: Setting, seed: tuple[int, ...]) -> Round:
    random = np.random.default_rng(seed)
    needed = setting.shot + setting.queries
    usable = np.flatnonzero(np.array(sizes) >= needed)
    chosen = random.permutation(usable)[:CLASSES]
    first = np.cumsum([0, *sizes[:-1]])
    rows = np.stack([first[c] + random.choice(sizes[c], size=needed, replace=False) for c in chosen])
    way = min(setting.way, len(chosen))
    episodes = np.stack([random.choice(len(chosen), size=way, replace=False) for _ in range(EPISODES)])
    return Round(rows[:, : setting.shot], rows[:, setting.shot :], episodes)


def _tables(distances: Mapping[str, npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    return [distances[name] for name in sorted(distances)]


def _accuracies(logits: npt.NDArray[np.float32], drawn: Round) -> npt.NDArray[np.float64]:
    """Accuracy of every episode, its classes cut out of the table of all: classes do not see each other."""
    classes, queries = drawn.query.shape
    table = logits.reshape(classes, queries, classes)
    return np.array(
        [
            (table[episode][:, :, episode].argmax(axis=2) == np.arange(len(episode))[:, None]).mean()
            for episode in drawn.episodes
        ]
    )
