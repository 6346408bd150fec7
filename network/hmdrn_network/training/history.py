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
        validations: {"step", "accuracies", "mean", "best"}; accuracies in percent, "best" if the weights of
            this step became the result.
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

    def add_validation(self, step: int, accuracies: Mapping[str, float], beats_start: bool = True) -> bool:
        """Add a validation and return True if its mean is above that of the best before.

        Args:
            step: Step of the run.
            accuracies: Percent by name.
            beats_start: False if its lead over the weights that the run started from may be chance.
        """
        mean = sum(accuracies.values()) / len(accuracies)
        best = beats_start and (not self.validations or mean > self.validations[self._best_index()]["mean"])
        self.validations.append({"step": step, "accuracies": dict(accuracies), "mean": mean, "best": best})
        return best

    def validations_since_best(self) -> int:
        """Return the number of validations after the best."""
        return len(self.validations) - 1 - self._best_index() if self.validations else 0

    def best_accuracies(self) -> dict[str, float]:
        """Return the accuracies of the best validation by name; empty without validation."""
        if not self.validations:
            return {}
        accuracies = self.validations[self._best_index()]["accuracies"]
        return {f"val {name}": value for name, value in accuracies.items()}

    @property
    def best_step(self) -> int | None:
        """Step of the best validation; None without validation."""
        return self.validations[self._best_index()]["step"] if self.validations else None

    def _best_index(self) -> int:
        return max(index for index, validation in enumerate(self.validations) if validation["best"])

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
