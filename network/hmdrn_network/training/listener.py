"""Events of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hmdrn_network.training.base_trainer import Progress


class Listener:
    """Receives the events of a run; its methods do nothing."""

    def on_resume(self, step: int, steps: int) -> None:
        """Handle the continuation of a run after `step` of `steps`."""

    def on_step(self, progress: Progress, step: int, steps: int) -> None:
        """Handle step number `step` of `steps` over both phases."""

    def on_validation(self, accuracies: Mapping[str, float], best: bool) -> None:
        """Handle a validation: accuracies in percent by name; `best` if their mean is the highest so far."""

    def on_finish(self, best_step: int | None) -> None:
        """Handle the end: the step whose weights are the result, 0 for the start; None without validation."""

    def on_save(self, folder: Path) -> None:
        """Handle the saving of state, checkpoint and history in `folder`."""
