"""Summary of the accuracies of all variants and seeds: means, paired differences and the paper's claims."""

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
"""The episodes of all groups together, equally many from each group."""

CLAIMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Two levels are better than one", ("high", "mid")),
    ("The mask is better than none", ("no-mask",)),
    ("Three transformer layers are better than one", ("one-layer",)),
    ("The transformers are better than none", ("no-transformer",)),
    ("Ridge is better than attention", ("attention",)),
    ("HMDRN is better than FRN", ("frn",)),
    ("HMDRN is better than ProtoNet", ("protonet",)),
)
"""Each claim with the variants that `full` must exceed."""

CONFIRMED, CONTRADICTED, UNDECIDED = "confirmed", "contradicted", "undecided"


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % interval over episodes, and the mean of each seed.

    Attributes:
        mean: Percent, or points of a difference.
        ci95: Half-width of the interval.
        by_seed: Mean of each seed.
    """

    mean: float
    ci95: float
    by_seed: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation between the seeds' means; None for a single seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None

    @property
    def verdict(self) -> str:
        """Verdict on the claim that this difference is above 0."""
        if abs(self.mean) <= self.ci95:
            return UNDECIDED
        return CONFIRMED if self.mean > 0 else CONTRADICTED

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "mean": self.mean,
            "ci95": self.ci95,
            "by_seed": list(self.by_seed),
            "seed_spread": self.spread,
        }


class Summary:
    """Figures of an ablation.

    Args:
        outcomes: Outcome of each seed by variant, all with the same episodes, `full` included.
    """

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
        self.variants = tuple(outcomes)
        self._accuracies = {
            variant: [_index_by_group_and_shot(outcome) for outcome in by_seed]
            for variant, by_seed in outcomes.items()
        }
        keys = self._accuracies[FULL][0]
        self.groups = tuple(dict.fromkeys(group for group, _ in keys if group != ALL_GROUPS))
        self.shots = tuple(sorted({shot for _, shot in keys}))

    def accuracy(self, variant: str, group: str, shot: int) -> Figure | None:
        """Return the accuracy in percent; None if the group has too few photos for so many shots."""
        return _make_figure([100 * a for a in self._episodes(variant, group, shot)])

    def gain(self, variant: str, group: str, shot: int) -> Figure | None:
        """Return the accuracy of `full` minus the variant's in points, paired by episode; None as above."""
        pairs = zip(self._episodes(FULL, group, shot), self._episodes(variant, group, shot), strict=True)
        return _make_figure([100 * (full - other) for full, other in pairs])

    def claims(self) -> list[tuple[str, str, int, Figure]]:
        """Return (claim, variant, shot, gain over all groups) for each claim whose variants were trained."""
        return [
            (claim, variant, shot, gain)
            for claim, rivals in CLAIMS
            for variant in rivals
            if variant in self.variants
            for shot in self.shots
            if (gain := self.gain(variant, ALL_GROUPS, shot)) is not None
        ]

    def _episodes(self, variant: str, group: str, shot: int) -> list[npt.NDArray[np.float64]]:
        """Return accuracies by seed; empty if there are none."""
        return [seed[group, shot] for seed in self._accuracies[variant] if (group, shot) in seed]


def _index_by_group_and_shot(outcome: Outcome) -> dict[tuple[str, int], npt.NDArray[np.float64]]:
    by_group = {(entry["group"], entry["shot"]): np.array(entry["accuracies"]) for entry in outcome}
    overall: dict[tuple[str, int], npt.NDArray[np.float64]] = {}
    for shot in sorted({shot for _, shot in by_group}):
        overall[ALL_GROUPS, shot] = np.concatenate([a for (_, s), a in by_group.items() if s == shot])
    return {**overall, **by_group}


def _make_figure(by_seed: Sequence[npt.NDArray[np.float64]]) -> Figure | None:
    if not by_seed:
        return None
    mean, ci95 = mean_and_interval(np.concatenate(by_seed))
    return Figure(mean, ci95, tuple(float(values.mean()) for values in by_seed))
