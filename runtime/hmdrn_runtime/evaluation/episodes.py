"""N-way K-shot tasks drawn from a data set, and the statistics of their accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_count
from hmdrn_runtime.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Episode:
    """One N-way K-shot task: indices into a data set's classes and photos.

    Attributes:
        classes: The `way` class indices in the order drawn.
        support: int64 (way, shot): in row i, indices of photos within class `classes[i]`.
        query: int64 (way, queries), likewise; all photos of a row are distinct.
    """

    classes: tuple[int, ...]
    support: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64]


def sample_episodes(
    class_sizes: Sequence[int], *, way: int, shot: int, queries: int, episodes: int, seed: int
) -> Iterator[Episode]:
    """Draw random tasks, the same ones for the same arguments.

    Episode i depends on `seed`, i and the arguments except `episodes`: a shorter run is the beginning of a
    longer one. Classes with fewer than shot + queries photos are never drawn.

    Args:
        class_sizes: Number of photos of each class.
        way: Classes per episode, 2 or more.
        shot: Support photos per class, 1 or more.
        queries: Query photos per class, 1 or more.
        episodes: Number of episodes, 1 or more.
        seed: 0 or more.

    Returns:
        An iterator that draws each episode lazily.

    Raises:
        DatasetError: An argument is out of range, or fewer than `way` classes have enough photos; raised by
            the call, not by the iteration.
    """
    limits = {"way": (way, 2), "shot": (shot, 1), "queries": (queries, 1), "episodes": (episodes, 1)}
    for name, (value, least) in {**limits, "seed": (seed, 0)}.items():
        check_count(value, name, f"it must be {least} or more, a whole number", DatasetError, least)
    needed = shot + queries
    usable = [index for index, size in enumerate(class_sizes) if size >= needed]
    if len(usable) < way:
        raise DatasetError(
            f"{way}-way {shot}-shot episodes with {queries} queries need {way} classes of at least {needed} "
            f"photos, but {len(usable)} of {len(class_sizes)} classes have as many: "
            "lower way, shot or queries, or add photos"
        )
    return (_draw(class_sizes, usable, way, shot, needed, (seed, i)) for i in range(episodes))


def fit_episode_size(
    class_sizes: Sequence[int], shot: int, way: int | None = None, queries: int | None = None
) -> tuple[int, int]:
    """Choose the classes and query photos of the episodes of a data set, which may be small.

    Args:
        class_sizes: Number of photos of each class.
        shot: Support photos per class, the most that will be drawn.
        way: Classes per episode; None: 5, or as many as there are.
        queries: Query photos per class; None: 16, or as many as `way` classes have besides their supports.

    Returns:
        `way` and `queries`; those that were None at least 2 and 1, even if the data set has fewer.
    """
    if way is None:
        way = max(2, min(5, len(class_sizes)))
    if queries is None:
        spare = sorted((size - shot for size in class_sizes), reverse=True)[:way]
        queries = max(1, min([16, *spare]))
    return way, queries


def mean_and_interval(values: Sequence[float] | npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean of per-episode accuracies and the half-width of its 95 % interval, as the papers do.

    Args:
        values: One number per episode, in any unit; at least one.

    Returns:
        The mean, and 1.96 * std / sqrt(n) with the sample's standard deviation (n - 1 in its
        denominator), both in the unit of `values`; the half-width of one value is 0.

    Raises:
        DatasetError: The list is empty.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if numbers.size == 0:
        raise DatasetError("0 values have no mean: measure at least one episode")
    half_width = 1.96 * numbers.std(ddof=1) / np.sqrt(numbers.size) if numbers.size > 1 else 0.0
    return float(numbers.mean()), float(half_width)


def _draw(
    class_sizes: Sequence[int], usable: list[int], way: int, shot: int, needed: int, seed: tuple[int, int]
) -> Episode:
    random = np.random.default_rng(seed)
    classes = tuple(usable[i] for i in random.choice(len(usable), size=way, replace=False))
    photos = np.stack([random.choice(class_sizes[c], size=needed, replace=False) for c in classes])
    photos = photos.astype(np.int64, copy=False)
    return Episode(classes, photos[:, :shot].copy(), photos[:, shot:].copy())
