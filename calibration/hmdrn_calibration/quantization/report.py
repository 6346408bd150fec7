"""Result of a calibration, for the manifest and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """Accuracy that INT8 may cost.

    Attributes:
        max_drop: Points of episodic accuracy that the mean may lose.
        max_kept: Share of the layers that may stay FP32; with more, INT8 gains too little.
        episodes: Episodes for each number of shots.
    """

    max_drop: float = 0.3
    max_kept: float = 0.25
    episodes: int = 600

    @property
    def max_interval(self) -> float:
        """Points that the end of the drop's 95 % interval may reach."""
        return self.max_drop + 0.2


@dataclass(frozen=True)
class MethodScore:
    """Accuracy of a variant with ranges by one method and every layer quantized.

    Attributes:
        variant: Name of the variant.
        method: "minmax", "percentile", "entropy" or "mse".
        accuracy: In percent, mean over the trial's episodes of all shots.
        distance_error: Mean relative error of distances.
        chosen: The variant uses this method.
    """

    variant: str
    method: str
    accuracy: float
    distance_error: float
    chosen: bool


@dataclass(frozen=True)
class LayerCost:
    """Cost of quantizing one layer alone.

    Attributes:
        layer: Path of its weight in the network.
        weights: Number of its weights.
        distance_error: Mean relative error of distances.
        drop: Points of accuracy lost, mean over the trial's episodes of all shots, paired.
        ci95: Half-width of the 95 % interval of `drop`.
        kept: It stays FP32.
    """

    layer: str
    weights: int
    distance_error: float
    drop: float
    ci95: float
    kept: bool


@dataclass(frozen=True)
class AccuracyDrop:
    """Accuracy of a variant against FP32 on the same episodes, as `hmdrn eval --against` measures it.

    Attributes:
        variant: Name of the variant.
        way: Classes of an episode.
        shot: Support photos of a class.
        queries: Query photos of a class.
        episodes: Number of episodes.
        fp32_accuracy: In percent.
        accuracy: In percent.
        drop: Points that FP32 is more accurate.
        ci95: Half-width of the 95 % interval of `drop`.
        executor: Backend that computed the variant.
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
        """Return True if mean and interval are within the budget."""
        return self.drop <= budget.max_drop and self.drop + self.ci95 <= budget.max_interval


@dataclass(frozen=True)
class QuantizationReport:
    """Everything that a calibration measured.

    Attributes:
        data: SHA-256 of the photos.
        rule: How they were split between ranges and accuracy.
        photos: Photos that accuracy was measured on.
        reference_accuracy: FP32 on the trial's episodes, in percent.
        methods: The range methods, by variant.
        layers: Cost of each layer, in the network's order; empty if the budget held at once.
        kept: Layers that stay FP32, costliest first.
        drops: Accuracy of each variant and number of shots.
        budget: The accuracy budget.
    """

    data: str
    rule: str
    photos: int
    reference_accuracy: float
    methods: tuple[MethodScore, ...]
    layers: tuple[LayerCost, ...]
    kept: tuple[str, ...]
    drops: tuple[AccuracyDrop, ...]
    budget: Budget

    @property
    def failures(self) -> tuple[str, ...]:
        """Excesses over the budget, in words; empty if it holds."""
        return tuple(
            f"{d.variant} loses {d.drop:.2f} ± {d.ci95:.2f} points at {d.shot} shot{'s' * (d.shot != 1)}"
            for d in self.drops
            if not d.within(self.budget)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)
