"""Smooth the predictions for single frames into a label that does not flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hmdrn_runtime.arguments import check_count, check_number
from hmdrn_runtime.classification.prediction import Prediction

State = Literal["undecided", "species", "unknown"]
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Smoothing:
    """Settings of label smoothing.

    Attributes:
        seconds: Time constant of the exponential average, at least 0; 0 treats every frame by itself.
        hysteresis: Lead over the present label that another needs to replace it: the difference of their
            averages over their sum, 0-1.
        hold: Predictions in a row for which the other label must lead, at least 1.

    Raises:
        HmdrnError: A value is out of its range.

    Examples:
        >>> hmdrn.Smoothing(seconds=1.0, hysteresis=0.2, hold=5).hold
        5
    """

    seconds: float = 0.5
    hysteresis: float = 0.1
    hold: int = 3

    def __post_init__(self) -> None:
        seconds, hysteresis = self.seconds, self.hysteresis
        check_number(seconds, "seconds of smoothing", "give 0 or more", valid=lambda s: 0 <= s < math.inf)
        check_number(hysteresis, "hysteresis", "give a number from 0 to 1", valid=lambda lead: 0 <= lead <= 1)
        check_count(self.hold, "hold", "give at least 1 prediction, a whole number")


@dataclass(frozen=True)
class SmoothedLabel:
    """The label of a subject, by all predictions so far.

    Attributes:
        state: "species", "unknown" (not an enrolled species) or "undecided" (no label has led yet).
        label: The species; None in other states.
        probability: Average probability of the species among the known predictions, 0-1; None if unknown.
        score: Share of predictions that are unknown, 0-1, if the state is "unknown"; else None.

    Examples:
        >>> hmdrn.SmoothedLabel("species", "Sooty Albatross", 0.9).text
        'Sooty Albatross'
    """

    state: State = "undecided"
    label: str | None = None
    probability: float | None = 0.0
    score: float | None = None

    @property
    def text(self) -> str:
        """The label, or the state without a species."""
        return self.label if self.label is not None else self.state

    def is_same(self, other: SmoothedLabel) -> bool:
        """Return whether the other has the same state and label, whatever the probability or score."""
        return (self.state, self.label) == (other.state, other.label)


class Smoother:
    """Exponential averages of the species' probabilities and of being unknown, with hysteresis.

    The averages weigh a prediction by its age, `exp(-age / seconds)`, not by its number: dropped frames
    change nothing. Unknown is a separate state, decided by the share of unknown predictions; the species are
    ranked among themselves by the known predictions.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._species: dict[str, float] = {}
        self._weight = self._known = 0.0
        self._time = -math.inf
        self._challenger = SmoothedLabel()
        self._lead_count = 0
        self.value: SmoothedLabel = SmoothedLabel()

    def update(self, prediction: Prediction, time: float) -> SmoothedLabel:
        """Add the prediction for one frame, and return the new label.

        Args:
            prediction: The prediction; its ranking is averaged.
            time: Time of capture, in seconds on any clock that does not run backwards.
        """
        seconds = self._smoothing.seconds
        decay = math.exp(-max(0.0, time - self._time) / seconds) if seconds > 0 else 0.0
        self._time = time
        known = prediction.known is not False
        self._weight = decay * self._weight + 1.0
        self._known = decay * self._known + known
        averages = {label: decay * value for label, value in self._species.items()}
        for match in prediction.ranking if known else ():
            averages[match.label] = averages.get(match.label, 0.0) + match.probability
        self._species = {label: value for label, value in averages.items() if value > _NEGLIGIBLE}
        self._update_value()
        return self.value

    def _update_value(self) -> None:
        best = self._best()
        self._lead_count = self._lead_count + 1 if best.is_same(self._challenger) else 1
        self._challenger = best
        if best.is_same(self.value):
            self.value, self._lead_count = best, 0
            return
        if self._lead(best) < self._smoothing.hysteresis:
            self._lead_count = 0
        takes_over = self._lead_count >= self._smoothing.hold
        self.value = best if takes_over else self._with_probability(self.value)

    def _best(self) -> SmoothedLabel:
        if 2 * self._known < self._weight or not self._species:
            return self._with_probability(SmoothedLabel("unknown"))
        return self._with_probability(
            SmoothedLabel("species", max(self._species, key=self._species.__getitem__))
        )

    def _with_probability(self, value: SmoothedLabel) -> SmoothedLabel:
        """Return the same label with its present probability."""
        if value.state == "unknown":
            return SmoothedLabel("unknown", None, None, 1.0 - self._known / self._weight)
        if value.label is None:
            return value
        average = self._species.get(value.label, 0.0)
        return SmoothedLabel("species", value.label, average / self._known if self._known else 0.0)

    def _lead(self, best: SmoothedLabel) -> float:
        """Return the best label's lead over the present one, or without one over the second best, 0-1."""
        if "unknown" in (best.state, self.value.state):
            return abs(2 * self._known / self._weight - 1.0)
        first = self._species[best.label or ""]
        others = [value for label, value in self._species.items() if label != best.label]
        second = (
            max(others, default=0.0) if self.value.label is None else self._species.get(self.value.label, 0.0)
        )
        return (first - second) / (first + second)
