"""Duration of a training, estimated from a few of its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hmdrn_network.training.base_trainer import BaseTrainer
from hmdrn_network.training.validation import BaseValidation

_STEPS = 3
"""Steps of each phase that are timed, after one that is not."""


@dataclass(frozen=True)
class DurationEstimate:
    """Expected duration of a run on this machine, in seconds.

    Attributes:
        class_step: A step of classification; 0 if the run has none.
        episode_step: An episode.
        validation: A validation; 0 if the run has none.
        total: The whole run.
    """

    class_step: float
    episode_step: float
    validation: float
    total: float


def estimate_duration(trainer: BaseTrainer, validation: BaseValidation | None) -> DurationEstimate:
    """Time some steps of each phase and a validation; the trainer is of no use afterwards.

    Args:
        trainer: The trainer before its first step.
        validation: The run's validation, if it has one.
    """
    config = trainer.config
    class_step = _time_steps(trainer, 0) if config.pretrain_steps else 0.0
    episode_step = _time_steps(trainer, config.pretrain_steps) if config.episodes else 0.0
    validation_time, validations = 0.0, 0
    if validation is not None:
        begin = time.monotonic()
        validation.measure(trainer.network)
        validation_time = time.monotonic() - begin
        validations = 1 + -(-config.episodes // config.validation_interval) if config.episodes else 0
    total = (
        config.pretrain_steps * class_step + config.episodes * episode_step + validations * validation_time
    )
    return DurationEstimate(class_step, episode_step, validation_time, total)


def _time_steps(trainer: BaseTrainer, first: int) -> float:
    """Return the mean seconds of steps from `first` on, without the first of them."""
    trainer.step = first
    steps = trainer.run(min(first + 1 + _STEPS, trainer.steps))
    next(steps)
    begin = time.monotonic()
    count = sum(1 for _ in steps)
    return (time.monotonic() - begin) / count if count else 0.0
