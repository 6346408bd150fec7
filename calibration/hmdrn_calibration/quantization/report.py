"""What a calibration found: in the manifest, as JSON, and drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """What INT8 may cost.

    Attributes:
        max_drop: Points of episodic accuracy that the mean may fall by.
        max_kept: Share of the layers that may stay FP32; with more of them INT8 is not worth its name.
        episodes: Episodes for each number of shots.
    """

    max_drop: float = 0.3
    max_kept: float = 0.25
    episodes: int = 600

    @property
    def max_interval(self) -> float:
        """Points that the end of the drop's 95 % interval may reach."""
        return 2 * self.max_drop


@dataclass(frozen=True)
class MethodScore:
    """How well ranges by one method serve a variant, with every layer quantised.

    Attributes:
        variant: The variant.
        method: "minmax", "percentile", "entropy" or "mse".
        accuracy: In percent, mean over the trial's episodes of all shots.
        distance_error: Mean relative error of distances.
        chosen: Whether the variant has it.
    """

    variant: str
    method: str
    accuracy: float
    distance_error: float
    chosen: bool


@dataclass(frozen=True)
class LayerCost:
    """What quantising one layer alone costs.

    Attributes:
        layer: Path of its weight in the network.
        weights: Their number.
        distance_error: Mean relative error of distances.
        drop: Points of accuracy lost, mean over the trial's episodes of all shots, paired.
        ci95: Half-width of the 95 % interval of `drop`.
        kept: Whether it stays FP32.
    """

    layer: str
    weights: int
    distance_error: float
    drop: float
    ci95: float
    kept: bool


@dataclass(frozen=True)
class Drop:
    """Accuracy of a variant against FP32 on the same episodes, as `hmdrn eval --against` measures it.

    Attributes:
        variant: The variant.
        way: Classes of an episode.
        shot: Support photos of a class.
        queries: Query photos of a class.
        episodes: Number of episodes.
        fp32_accuracy: In percent.
        accuracy: In percent.
        drop: Points that FP32 is better.
        ci95: Half-width of the 95 % interval of `drop`.
        executor: What computed the variant.
    """

    variant: str
    way: int
    shot: int
    queries: int
    episodes: int
    fp32_accuracy: float
    accuracy: float
    drop: float
    ci95: float
    executor: str

    def within(self, budget: Budget) -> bool:
        """Whether mean and interval are in the budget."""
        return self.drop <= budget.max_drop and self.drop + self.ci95 <= budget.max_interval


@dataclass(frozen=True)
class CalibrationReport:
    """Everything that a calibration found.

    Attributes:
        data: SHA-256 of the photographs.
        rule: How they were divided between ranges and accuracy.
        photos: Photos that accuracy was measured on.
        reference_accuracy: FP32 on the trial's episodes, in percent.
        methods: The range methods, by variant.
        layers: Cost of each layer, in the network's order; empty if the budget held at once.
        kept: Layers that stay FP32, in the order in which they were given up.
        drops: Accuracy of each variant and number of shots.
        budget: What was allowed.
    """

    data: str
    rule: str
    photos: int
    reference_accuracy: float
    methods: tuple[MethodScore, ...]
    layers: tuple[LayerCost, ...]
    kept: tuple[str, ...]
    drops: tuple[Drop, ...]
    budget: Budget

    @property
    def failures(self) -> tuple[str, ...]:
        """What exceeds the budget, in words; empty if it holds."""
        return tuple(
            f"{d.variant} loses {d.drop:.2f} ± {d.ci95:.2f} points at {d.shot} shot{'s' * (d.shot != 1)}"
            for d in self.drops
            if not d.within(self.budget)
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)
