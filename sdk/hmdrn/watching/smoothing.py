"""From answers to single frames to a label that does not flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.prediction import Prediction

State = Literal["undecided", "species", "unknown"]
_FORGOTTEN = 1e-6


@dataclass(frozen=True)
class Smoothing:
    """How labels are smoothed.

    Attributes:
        seconds: Time constant of the exponential average, at least 0; 0 takes every frame by itself.
        hysteresis: How far another label must lead the present one: the difference of their averages over
            their sum, 0-1.
        hold: Answers in a row for which it must lead, at least 1.

    Raises:
        HmdrnError: A value is out of its range.
    """

    seconds: float = 0.5
    hysteresis: float = 0.1
    hold: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise HmdrnError(f"seconds of smoothing is {self.seconds}: give 0 or more")
        if not 0 <= self.hysteresis <= 1:
            raise HmdrnError(f"hysteresis is {self.hysteresis}: give a number from 0 to 1")
        if not self.hold >= 1:
            raise HmdrnError(f"hold is {self.hold}: give at least 1 answer")


@dataclass(frozen=True)
class Smoothed:
    """What a place in the picture shows, by all answers so far.

    Attributes:
        state: "species", "unknown" (none of the enrolled) or "undecided" (no label has led yet).
        label: The species; None if the state is another.
        probability: Average probability of the species among the known, or share of unknown answers, 0-1.
    """

    state: State = "undecided"
    label: str | None = None
    probability: float = 0.0

    @property
    def text(self) -> str:
        """The label, or the state where that is no species."""
        return self.label if self.label is not None else self.state


class Smoother:
    """Exponential averages of the species' probabilities and of being unknown, with hysteresis.

    The averages weigh an answer by its age, `exp(-age / seconds)`, not by its number: frames that were
    dropped change nothing. Unknown is a state of its own, contested by the share of unknown answers; the
    species contest among themselves by the answers that were known.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._species: dict[str, float] = {}
        self._weight = self._known = 0.0
        self._time = -math.inf
        self._challenger = Smoothed()
        self._led = 0
        self.value = Smoothed()

    def update(self, prediction: Prediction, time: float) -> Smoothed:
        """Take in the answer to one frame.

        Args:
            prediction: The answer; its ranking is what is averaged.
            time: When the frame was captured, seconds on any clock that does not run backwards.
        """
        seconds = self._smoothing.seconds
        kept = math.exp(-max(0.0, time - self._time) / seconds) if seconds > 0 else 0.0
        self._time = time
        known = prediction.known is not False
        self._weight = kept * self._weight + 1.0
        self._known = kept * self._known + known
        averages = {label: kept * value for label, value in self._species.items()}
        for match in prediction.ranking if known else ():
            averages[match.label] = averages.get(match.label, 0.0) + match.probability
        self._species = {label: value for label, value in averages.items() if value > _FORGOTTEN}
        self._contest()
        return self.value

    def _contest(self) -> None:
        best = self._best()
        same = (best.state, best.label) == (self._challenger.state, self._challenger.label)
        self._led = self._led + 1 if same else 1
        self._challenger = best
        if (best.state, best.label) == (self.value.state, self.value.label):
            self.value = best
            self._led = 0
            return
        if self._lead(best) < self._smoothing.hysteresis:
            self._led = 0
        if self._led >= self._smoothing.hold:
            self.value = best
        else:
            self.value = self._now(self.value)

    def _best(self) -> Smoothed:
        if 2 * self._known < self._weight or not self._species:
            return self._now(Smoothed("unknown"))
        return self._now(Smoothed("species", max(self._species, key=lambda label: self._species[label])))

    def _now(self, value: Smoothed) -> Smoothed:
        """The same with its probability as it is now."""
        if value.state == "unknown":
            return Smoothed("unknown", None, 1.0 - self._known / self._weight)
        if value.label is None:
            return value
        average = self._species.get(value.label, 0.0)
        return Smoothed("species", value.label, average / self._known if self._known else 0.0)

    def _lead(self, best: Smoothed) -> float:
        """How far the best is ahead of the present label, 0-1; of the second where there is none yet."""
        if "unknown" in (best.state, self.value.state):
            return abs(2 * self._known / self._weight - 1.0)
        first = self._species[best.label or ""]
        others = [value for label, value in self._species.items() if label != best.label]
        second = (
            max(others, default=0.0) if self.value.label is None else self._species.get(self.value.label, 0.0)
        )
        return (first - second) / (first + second)
