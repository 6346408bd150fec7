"""Quick comparison of candidates on the same supports and queries; each photo runs through the network once.

`evaluation.evaluate` measures the accuracy that a bundle must reach. It solves for every class of every
episode anew, which is too slow to choose between dozens of candidates: here the supports of a round serve
many episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hmdrn_calibration.quantization.calibration_data import Pixels
from hmdrn_runtime.evaluation.episodes import mean_and_interval
from hmdrn_runtime.evaluation.evaluation import BundleScorer, EpisodeSetting

ROUNDS = 6
CLASSES = 10
"""Most classes of a round."""
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
class TrialOutcome:
    """Results of one candidate in the rounds of every setting.

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

    def accuracy_drop(self, reference: TrialOutcome) -> tuple[float, float]:
        """Return the points that the reference is more accurate, and the half-width of their 95 % interval.

        Rounds are the units: episodes of one round share its supports, and vary less than they should.
        """
        return mean_and_interval(100 * (reference.accuracies - self.accuracies).mean(axis=2))

    def distance_error(self, reference: TrialOutcome) -> float:
        """Return the mean relative difference of distances."""
        return float(np.mean(np.abs(self.distances / reference.distances - 1)))


class PairedTrial:
    """Rounds drawn once, on which any number of candidates run.

    Args:
        classes: Photos of each class, uint8 (N, S, S, 3).
        settings: Way, shots and queries.
        rounds: Rounds of each setting.
        seed: The same seed draws the same rounds.
    """

    def __init__(
        self,
        classes: Sequence[Pixels],
        settings: Sequence[EpisodeSetting],
        rounds: int = ROUNDS,
        seed: int = 0,
    ) -> None:
        sizes = [len(photos) for photos in classes]
        drawn = [[_draw_round(sizes, s, (seed, s.shot, i)) for i in range(rounds)] for s in settings]
        used = np.unique(
            np.concatenate([rows.ravel() for part in drawn for r in part for rows in (r.support, r.query)])
        )
        # Photos that are not drawn are left out: rows are renumbered.
        self._rounds = [
            [
                replace(r, support=np.searchsorted(used, r.support), query=np.searchsorted(used, r.query))
                for r in part
            ]
            for part in drawn
        ]
        self._photos: Pixels = np.concatenate(list(classes))[used]

    def run(self, candidate: BundleScorer) -> TrialOutcome:
        """Run a new candidate, which has no photos yet."""
        candidate.add_photos(self._photos)
        distances: list[npt.NDArray[np.float64]] = []
        accuracies: list[list[npt.NDArray[np.float64]]] = []
        for rounds in self._rounds:
            accuracies.append([])
            for r in rounds:
                scores = candidate.scores(r.support, r.query.ravel())
                distances += [
                    scores.distances[level].astype(float).ravel() for level in sorted(scores.distances)
                ]
                accuracies[-1].append(_episode_accuracies(scores.logits, r))
        return TrialOutcome(np.concatenate(distances), np.array(accuracies))


def _draw_round(sizes: Sequence[int], setting: EpisodeSetting, seed: tuple[int, ...]) -> Round:
    random = np.random.default_rng(seed)
    needed = setting.shot + setting.queries
    usable = np.flatnonzero(np.array(sizes) >= needed)
    chosen = random.permutation(usable)[:CLASSES]
    first = np.cumsum([0, *sizes[:-1]])
    rows = np.stack([first[c] + random.choice(sizes[c], size=needed, replace=False) for c in chosen])
    way = min(setting.way, len(chosen))
    episodes = np.stack([random.choice(len(chosen), size=way, replace=False) for _ in range(EPISODES)])
    return Round(rows[:, : setting.shot], rows[:, setting.shot :], episodes)


def _episode_accuracies(logits: npt.NDArray[np.float32], drawn: Round) -> npt.NDArray[np.float64]:
    """Return the accuracy of every episode; its classes, which are independent, are cut out of the table."""
    classes, queries = drawn.query.shape
    table = logits.reshape(classes, queries, classes)
    return np.array(
        [
            (table[episode][:, :, episode].argmax(axis=2) == np.arange(len(episode))[:, None]).mean()
            for episode in drawn.episodes
        ]
    )
