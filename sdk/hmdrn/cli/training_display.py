"""Display of a training: progress on a terminal, and a line a minute for log files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import click

from hmdrn_network.training.base_trainer import Progress
from hmdrn_network.training.listener import Listener
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

    def on_resume(self, step: int, steps: int) -> None:
        """As `Listener.on_resume`."""
        click.echo(f"continuing after step {step} of {steps}", err=True)

    def on_step(self, progress: Progress, step: int, steps: int) -> None:
        """As `Listener.on_step`; shows running means of loss and accuracy, because single episodes vary."""
        self._loss = _update_mean(self._loss, progress.loss)
        self._accuracy = _update_mean(self._accuracy, progress.accuracy)
        learned = ", ".join(f"{name} {value:.2g}" for name, value in progress.scalars.items())
        text = f"{progress.phase}: loss {self._loss:.3f}, accuracy {100 * self._accuracy:.0f} %, {learned}"
        self._report(text, step, steps)
        if time.monotonic() > self._quiet_until or step == steps:
            self._quiet_until = time.monotonic() + SECONDS_BETWEEN_LINES
            click.echo(f"step {step} of {steps}, {text}", err=True)

    def on_validation(self, accuracies: Mapping[str, float], best: bool) -> None:
        """As `Listener.on_validation`."""
        text = ", ".join(f"{name} {value:.1f} %" for name, value in accuracies.items())
        click.echo(f"validation{' (best so far)' if best else ''}: {text}", err=True)

    def on_save(self, folder: Path) -> None:
        """Draw the curves of the run."""
        from hmdrn.plotting.figures import draw_curves

        draw_curves(folder / "history.json", folder / "curves.png")


def _update_mean(mean: float | None, value: float) -> float:
    return value if mean is None else 0.95 * mean + 0.05 * value
