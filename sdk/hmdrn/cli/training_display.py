"""Display of a training: progress on a terminal, and a line a minute for log files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import click

from hmdrn.cli.output import print_facts
from hmdrn_network.training.base_trainer import Progress
from hmdrn_network.training.config import TrainingConfig
from hmdrn_network.training.estimate import DurationEstimate
from hmdrn_network.training.listener import Listener
from hmdrn_runtime.progress import ProgressCallback

SECONDS_BETWEEN_LINES = 60
FIRST_LINE = 5
"""Steps before the first line, so that it can say how long the rest will take."""


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
        self._steps = 0
        self._begin = time.monotonic()

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
        self._steps += 1
        now = time.monotonic()
        if (now > self._quiet_until and self._steps >= FIRST_LINE) or step == steps:
            self._quiet_until = now + SECONDS_BETWEEN_LINES
            seconds = (now - self._begin) / self._steps
            left = format_duration(seconds * (steps - step))
            click.echo(f"step {step} of {steps}, {seconds:.2g} s each, {left} left, {text}", err=True)

    def on_validation(self, accuracies: Mapping[str, float], best: bool) -> None:
        """As `Listener.on_validation`."""
        text = ", ".join(f"{name} {value:.1f} %" for name, value in accuracies.items())
        click.echo(f"validation{' (best so far)' if best else ''}: {text}", err=True)

    def on_finish(self, best_step: int | None) -> None:
        """As `Listener.on_finish`."""
        if best_step == 0:
            click.echo(
                "no validation beat the start by more than chance: the checkpoint is the start, unchanged; "
                "more photos, more species or a lower learning rate may help",
                err=True,
            )

    def on_save(self, folder: Path) -> None:
        """Draw the curves of the run."""
        from hmdrn.plotting.figures import draw_curves

        draw_curves(folder / "history.json", folder / "curves.png")


def print_estimate(estimate: DurationEstimate, config: TrainingConfig) -> None:
    """Print how long a training takes on this machine."""
    facts = [
        ("classification", f"{config.pretrain_steps} steps of {estimate.class_step:.2g} s"),
        ("episodes", f"{config.episodes} of {estimate.episode_step:.2g} s"),
        ("validation", f"{estimate.validation:.2g} s each time"),
        ("together", f"about {format_duration(estimate.total)}"),
    ]
    print_facts("expected duration on this machine", facts)


def format_duration(seconds: float) -> str:
    """Format seconds for people, e.g. "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _update_mean(mean: float | None, value: float) -> float:
    return value if mean is None else 0.95 * mean + 0.05 * value
