"""Latency of enrollment."""

from __future__ import annotations

import numpy as np

from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import gram_sum
from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, TimingPlan, time_interleaved
from hmdrn_runtime.recognizer import Recognizer

_LABEL = "enrolled to be timed"


def measure_enrollment(
    recognizer: Recognizer, source: ImageSource, plan: TimingPlan, after: Call = lambda: None
) -> dict[str, Latency]:
    """Time an enrollment and its parts, in turns.

    Args:
        recognizer: A recognizer with at least one species; its gallery is left unchanged.
        source: The photo to enroll.
        plan: Duration of the measurement.
        after: Called between the turns, untimed.

    Returns:
        "enrollment": one photo as a new species of the gallery, with its report; "network": the photo's
        statistics; "solve" (ridge): the operator of the gallery's first species.
    """
    pixels = prepare(source, recognizer.preprocessing)[None]
    species = dict(recognizer.gallery.species)
    scratch = Recognizer(recognizer.bundle, recognizer.backend, Gallery(recognizer.gallery.network, species))
    matcher = scratch.matcher
    calls: dict[str, Call] = {
        "enrollment": lambda: scratch.enroll(_LABEL, source),
        "network": lambda: matcher.compute_statistics(pixels),
    }
    if isinstance(matcher, RidgeMatcher):
        ridge, first = matcher, next(iter(species.values()))
        gram = gram_sum(ridge.network, first.photos.values(), first.sums)[None]
        shots = np.array([first.shots], np.float32)
        calls["solve"] = lambda: ridge.solve(gram, shots, [first.label])

    def forget() -> None:
        if _LABEL in scratch.gallery:
            scratch.forget(_LABEL)
        after()

    times = time_interleaved(calls, plan, after=forget)
    return {name: Latency.from_seconds(seconds) for name, seconds in times.items()}
