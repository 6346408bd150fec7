"""The inbox: unknown visits in groups that look alike, so that one stranger is one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hmdrn.open_set import require_background
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn_calibration.open_set.threshold_fit import select_impostors
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import extend_species
from hmdrn_runtime.images.quality import prepare_photo
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, soft_maximum
from hmdrn_runtime.recognizer import Recognizer

STRICTNESS = 2.5
"""Spreads above the mean score of look-alike species from which two visits are alike.

Measured with the default of three layers and two photos as a visit, four visits of each of eight species (of
birds two), in four groups: 70 % (groceries) to 100 % (birds, butterflies, dogs) of the pairs that were
grouped were of one species, and 23 % (dogs) to 79 % of the pairs of one species were grouped; at 3, 100 %,
and 8 to 65 %."""
MAX_VISITS = 500
"""Most visits that are compared, the newest: the work grows with the square."""


@dataclass(frozen=True)
class VisitGroup:
    """Unknown visits that look alike.

    Attributes:
        visits: The visits; the first one is the most typical.
        likeness: Mean score between its visits, above the threshold; 0 for a single visit.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     groups = hmdrn.group_unknown_visits(visits, birds)
        >>> [len(group.visits) for group in groups]
        [2]
    """

    visits: tuple[Visit, ...]
    likeness: float


def group_unknown_visits(
    store: VisitStore,
    recognizer: Recognizer,
    where: VisitFilter | None = None,
    strictness: float = STRICTNESS,
    limit: int = MAX_VISITS,
) -> list[VisitGroup]:
    """Group the unknown visits by likeness, the largest group first.

    Each visit is taken for a species of its own, enrolled with its pictures. Two visits are alike if either
    explains the other better than the bundle's background species do (`open_set.background`), by more than
    species that look alike do. Groups are joined by the average over their pairs.

    Args:
        store: The file of the visits.
        recognizer: Compares them; its bundle has a background.
        where: Further conditions; all unknown visits that nobody has corrected if None.
        strictness: Standard deviations above the mean score of look-alike species from which two visits are
            alike: higher makes more and surer groups.
        limit: Most visits, the newest; at least 1.

    Raises:
        BundleError: The bundle has no background.
        GalleryError: The head is attention.
    """
    background = require_background(recognizer)
    unknown = replace(where or VisitFilter(), known=False)
    visits = [visit for visit in store.find(unknown, limit, newest_first=True) if visit.pictures]
    if not visits:
        return []
    scores = _compare(store, recognizer, background, visits)
    statistics = select_impostors(background.impostors, float(np.median([len(v.pictures) for v in visits])))
    threshold = statistics.rivals.mean + strictness * statistics.rivals.spread
    groups = [
        _make_group([visits[i] for i in members], scores[np.ix_(members, members)] - threshold)
        for members in join_alike(scores, threshold)
    ]
    return sorted(groups, key=lambda group: (-len(group.visits), group.visits[0].id))


def join_alike(scores: npt.NDArray[np.float64], threshold: float) -> list[list[int]]:
    """Join items while the mean score between two groups reaches a threshold.

    (Agglomerative clustering with average linkage, UPGMA: Sokal and Michener, 1958.)

    Args:
        scores: Symmetric (N, N); the diagonal does not matter.
        threshold: The least mean score.

    Returns:
        The groups, each a sorted list of indices.
    """
    means = scores.astype(np.float64).copy()
    np.fill_diagonal(means, -np.inf)
    groups = [[i] for i in range(len(means))]
    while len(means):
        first, second = divmod(int(np.argmax(means)), len(means))
        if means[first, second] < threshold:
            break
        sizes = len(groups[first]), len(groups[second])
        joined = (sizes[0] * means[first] + sizes[1] * means[second]) / sum(sizes)
        means[first], means[:, first] = joined, joined
        means[second], means[:, second] = -np.inf, -np.inf
        means[first, first] = -np.inf
        groups[first] += groups[second]
        groups[second] = []
    return [sorted(group) for group in groups if group]


def _compare(
    store: VisitStore, recognizer: Recognizer, background: Background, visits: Sequence[Visit]
) -> npt.NDArray[np.float64]:
    """Return the symmetric scores of visits for each other, (N, N)."""
    matcher = recognizer.matcher
    if not isinstance(matcher, RidgeMatcher):
        raise GalleryError("unknown visits are grouped by a bundle with the ridge head: give one")
    photos: list[list[PhotoStatistics]] = []
    for visit in visits:
        pixels = [
            prepare_photo(store.read_picture(picture.id), recognizer.preprocessing).pixels
            for picture in visit.pictures
        ]
        photos.append(matcher.compute_statistics(np.stack(pixels)))
    species = [extend_species(None, str(visit.id), own) for visit, own in zip(visits, photos, strict=True)]
    operators = np.stack(matcher.operators(species))
    scores = np.empty((len(visits), len(visits)))
    for row, own in enumerate(photos):
        cohort = soft_maximum(matcher.match(own, background.operators).logits)
        scores[row] = (matcher.match(own, operators).logits - cohort[:, None]).mean(axis=0)
    return np.asarray((scores + scores.T) / 2)


def _make_group(visits: Sequence[Visit], margins: npt.NDArray[np.float64]) -> VisitGroup:
    """Make a group with the most typical visit first; `margins` (N, N) are scores above the threshold."""
    if len(visits) == 1:
        return VisitGroup(tuple(visits), 0.0)
    others = margins.copy()
    np.fill_diagonal(others, 0.0)
    means = others.sum(axis=1) / (len(visits) - 1)
    order = np.argsort(-means, kind="stable")
    return VisitGroup(tuple(visits[i] for i in order), float(means.mean()))
