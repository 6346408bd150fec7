"""The costs of false-accept rates, measured before one is set."""

from __future__ import annotations

from collections.abc import Mapping

from hmdrn.open_set import calibrate_threshold, evaluate_acceptance
from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.recognizer import Recognizer


class RateCosts:
    """Measures rates on a copy of a gallery, each once for the same species and photos of unknown ones."""

    def __init__(self) -> None:
        self._species: Mapping[str, Species] | None = None
        self._unknown: object = None
        self._costs: dict[float, AcceptanceReport] = {}

    def measure(self, recognizer: Recognizer, rate: float) -> AcceptanceReport:
        """Return what a rate would cost, without setting it."""
        state = recognizer.gallery.state
        unknown = (state.calibration or {}).get("unknown")
        if self._species is not state.species or self._unknown != unknown:
            self._species, self._unknown, self._costs = state.species, unknown, {}
        costs = self._costs
        if rate not in costs:
            copy = Gallery(recognizer.gallery.network, state.species, calibration=state.calibration)
            trial = Recognizer(recognizer.bundle, recognizer.backend, copy)
            calibrate_threshold(trial, rate)
            costs[rate] = evaluate_acceptance(trial)
        return costs[rate]
