"""The steps of a training on a terminal, and now and then a line where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import click

from hmdrn_network.training.interfaces import Listener
from hmdrn_network.training.trainer import Progress
from hmdrn_runtime.progress import ProgressCallback

SECONDS_BETWEEN_LINES = 60


class TrainingDisplay(Listener):
    """Shows the events of a run.

    Args:
        report: Progress display of the terminal.
    """

    def __init__(self, report: ProgressCallback) -> None:
        self._report = report
        self._quiet_until = 0.0
        self._loss: float | None = None
        self._accuracy: float | None = None

    def resumed(self, step: int, steps: int) -> None:
        """As `Listener.resumed`."""
        click.echo(f"continuing after step {step} of {steps}", err=True)

    def stepped(self, progress: Progress, step: int, steps: int) -> None:
        """As `Listener.stepped`; loss and accuracy are running means, because single episodes vary."""
        self._loss = _mix(self._loss, progress.loss)
        self._accuracy = _mix(self._accuracy, progress.accuracy)
        learned = ", ".join(f"{name} {value:.2g}" for name, value in progress.scalars.items())
        text = f"{progress.phase}: loss {self._loss:.3f}, accuracy {100 * self._accuracy:.0f} %, {learned}"
        self._report(text, step, steps)
        if time.monotonic() > self._quiet_until or step == steps:
            self._quiet_until = time.monotonic() + SECONDS_BETWEEN_LINES
            click.echo(f"step {step} of {steps}, {text}", err=True)

    def validated(self, accuracies: Mapping[str, float], best: bool) -> None:
        """As `Listener.validated`."""
        shown = ", ".join(f"{name} {value:.1f} %" for name, value in accuracies.items())
        click.echo(f"validation{' (best so far)' if best else ''}: {shown}", err=True)

    def saved(self, folder: Path) -> None:
        """Draw the curves of the run."""
        from hmdrn.plotting.figures import draw_curves

        draw_curves(folder / "history.json", folder / "curves.png")


def _mix(mean: float | None, value: float) -> float:
    return value if mean is None else 0.95 * mean + 0.05 * value
