"""How long enrolling takes."""

from __future__ import annotations

import numpy as np

from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import gram_sum
from hmdrn_runtime.images.preprocessing import ImageSource, prepare
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, Plan, in_turns
from hmdrn_runtime.recognizer import Recognizer

_LABEL = "enrolled to be timed"


def measure_enrollment(
    recognizer: Recognizer, source: ImageSource, plan: Plan, after: Call = lambda: None
) -> dict[str, Latency]:
    """Time an enrollment and its parts, in turns.

    Args:
        recognizer: With at least one species; its gallery is left as it is.
        source: The photo to enroll.
        plan: How long to measure.
        after: Called between the turns, untimed.

    Returns:
        "enrollment": one photo as a new species beside those of the gallery, with its report; "network": the
        photo's statistics; "solve" (ridge): the operator of the gallery's first species.
    """
    mode = recognizer.bundle.manifest.input.preprocessing
    pixels = prepare(source, mode)[None]
    species = dict(recognizer.gallery.species)
    scratch = Recognizer(recognizer.bundle, recognizer.backend, Gallery(recognizer.gallery.network, species))
    matcher = scratch.matcher
    calls: dict[str, Call] = {
        "enrollment": lambda: scratch.enroll(_LABEL, source),
        "network": lambda: matcher.photo_statistics(pixels),
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

    times = in_turns(calls, plan, after=forget)
    return {name: Latency.of(seconds) for name, seconds in times.items()}
