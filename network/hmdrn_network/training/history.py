"""History of a run, behind its curves and its choice of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmdrn_network.training.base_trainer import Progress

LOG_EVERY = 25
"""Number of steps that are averaged into a record."""


class History:
    """Losses, accuracies and learned scalars, each a mean over some steps, and validations.

    Attributes:
        records: {"phase", "step", "loss", "accuracy", "scalars"}; `step` is the last of the averaged steps.
        validations: {"step", "accuracies", "mean"}; accuracies in percent.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self._open: list[tuple[float, float]] = []

    def add(self, progress: Progress) -> None:
        """Add a step."""
        self._open.append((progress.loss, progress.accuracy))
        if progress.step % LOG_EVERY and progress.step != progress.steps:
            return
        losses, accuracies = zip(*self._open, strict=True)
        self.records.append(
            {
                "phase": progress.phase,
                "step": progress.step,
                "loss": sum(losses) / len(losses),
                "accuracy": sum(accuracies) / len(accuracies),
                "scalars": dict(progress.scalars),
            }
        )
        self._open = []

    def add_validation(self, step: int, accuracies: Mapping[str, float]) -> bool:
        """Add a validation and return True if its mean is above those of all before."""
        mean = sum(accuracies.values()) / len(accuracies)
        best = all(mean > earlier["mean"] for earlier in self.validations)
        self.validations.append({"step": step, "accuracies": dict(accuracies), "mean": mean})
        return best

    def validations_since_best(self) -> int:
        """Return the number of validations after the best."""
        means = [v["mean"] for v in self.validations]
        return len(means) - 1 - means.index(max(means)) if means else 0

    def best_accuracies(self) -> dict[str, float]:
        """Return the accuracies of the best validation by name; empty without validation."""
        if not self.validations:
            return {}
        best = max(self.validations, key=lambda v: float(v["mean"]))
        return {f"val {name}": value for name, value in best["accuracies"].items()}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, the inverse of `from_dict`."""
        return {
            "records": self.records,
            "validations": self.validations,
            "open": [list(step) for step in self._open],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """Build from the result of `to_dict`."""
        history = cls()
        history.records, history.validations = list(values["records"]), list(values["validations"])
        history._open = [(loss, accuracy) for loss, accuracy in values["open"]]
        return history
