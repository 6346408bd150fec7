"""What the accuracies of all variants and seeds say: means, paired differences and the paper's claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ablation.experiment import Outcome
from benchmarks.ablation.variants import FULL
from hmdrn_runtime.evaluation.episodes import mean_and_interval

ALL_GROUPS = "all groups"
"""The episodes of all groups together, each group with as many."""

CLAIMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Two levels are better than one", ("high", "mid")),
    ("The mask is better than none", ("no-mask",)),
    ("The transformers are better than none", ("no-transformer",)),
    ("Ridge is better than attention", ("attention",)),
    ("HMDRN is better than FRN", ("frn",)),
    ("HMDRN is better than ProtoNet", ("protonet",)),
)
"""Each claim with the variants that `full` must be better than."""

CONFIRMED, CONTRADICTED, UNDECIDED = "confirmed", "contradicted", "undecided"


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % interval over episodes, and with what the seeds say one by one.

    Attributes:
        mean: In percent, or points of a difference.
        ci95: Half-width.
        by_seed: The mean of every seed.
    """

    mean: float
    ci95: float
    by_seed: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation between the seeds' means; None of a single seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None

    @property
    def verdict(self) -> str:
        """Of a claim that this difference is above 0."""
        if abs(self.mean) <= self.ci95:
            return UNDECIDED
        return CONFIRMED if self.mean > 0 else CONTRADICTED

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "mean": self.mean,
            "ci95": self.ci95,
            "by_seed": list(self.by_seed),
            "seed_spread": self.spread,
        }


class Summary:
    """Figures of an ablation.

    Args:
        outcomes: By variant, the outcome of every seed; all of the same episodes, `full` among them.
    """

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
        self.variants = tuple(outcomes)
        self._accuracies = {
            variant: [_by_group_and_shot(outcome) for outcome in of_seeds]
            for variant, of_seeds in outcomes.items()
        }
        keys = self._accuracies[FULL][0]
        self.groups = tuple(dict.fromkeys(group for group, _ in keys if group != ALL_GROUPS))
        self.shots = tuple(sorted({shot for _, shot in keys}))

    def accuracy(self, variant: str, group: str, shot: int) -> Figure | None:
        """In percent; None where a group has too few photos for so many shots."""
        return _figure([100 * a for a in self._episodes(variant, group, shot)])

    def gain(self, variant: str, group: str, shot: int) -> Figure | None:
        """Accuracy of `full` minus that of the variant in points, paired by episode; None as above."""
        pairs = zip(self._episodes(FULL, group, shot), self._episodes(variant, group, shot), strict=True)
        return _figure([100 * (full - other) for full, other in pairs])

    def claims(self) -> list[tuple[str, str, int, Figure]]:
        """(claim, variant, shot, gain over all groups) for each claim as far as its variants were trained."""
        return [
            (claim, variant, shot, gain)
            for claim, rivals in CLAIMS
            for variant in rivals
            if variant in self.variants
            for shot in self.shots
            if (gain := self.gain(variant, ALL_GROUPS, shot)) is not None
        ]

    def _episodes(self, variant: str, group: str, shot: int) -> list[npt.NDArray[np.float64]]:
        """Accuracies by seed; empty if there are none."""
        return [found[group, shot] for found in self._accuracies[variant] if (group, shot) in found]


def _by_group_and_shot(outcome: Outcome) -> dict[tuple[str, int], npt.NDArray[np.float64]]:
    found = {(one["group"], one["shot"]): np.array(one["accuracies"]) for one in outcome}
    together: dict[tuple[str, int], npt.NDArray[np.float64]] = {}
    for shot in sorted({shot for _, shot in found}):
        together[ALL_GROUPS, shot] = np.concatenate([a for (_, s), a in found.items() if s == shot])
    return {**together, **found}


def _figure(by_seed: Sequence[npt.NDArray[np.float64]]) -> Figure | None:
    if not by_seed:
        return None
    mean, ci95 = mean_and_interval(np.concatenate(by_seed))
    return Figure(mean, ci95, tuple(float(values.mean()) for values in by_seed))
