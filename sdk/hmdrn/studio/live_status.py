"""The state of a source that is watched live, and its subjects in words."""

from __future__ import annotations

from dataclasses import dataclass

from hmdrn.studio.layout import percent
from hmdrn.watching.results import Sighting
from hmdrn_runtime.images.preprocessing import Box

NO_DETECTOR, MOTION, GIVEN = "none", "motion", "given"


@dataclass(frozen=True)
class LiveSubject:
    """A subject of the present frame.

    Attributes:
        name: Its species, "unknown" or "undecided".
        state: "species", "unknown" or "undecided".
        probability: Of the species, 0-1; None if unknown.
        known: Whether it is an enrolled species; None while undecided, or without a false-accept rate.
        evidence: The reason in words: what else it may be, or what it is most like.
    """

    name: str
    state: str
    probability: float | None
    known: bool | None = None
    evidence: str = ""


@dataclass(frozen=True)
class LiveStatus:
    """The state of a source.

    Attributes:
        source: Its name.
        message: The last thing that happened to it; empty if nothing.
        is_paused: Whether a visitor has paused it.
        has_ended: Whether it has ended: a film's end, or an error.
        subjects: The subjects of the last frame.
        frames: Frames that were named so far.
        rate: Named frames a second.
        latency: Seconds from capture to name, of the last frame.
        size: Width and height of the frames in pixels; None before the first.
        region: The part that is watched, x0, y0, x1, y1 in pixels; None for the whole frame.
        detector: "none", "motion", or "given" for another one that the studio was started with.
    """

    source: str
    message: str = ""
    is_paused: bool = False
    has_ended: bool = False
    subjects: tuple[LiveSubject, ...] = ()
    frames: int = 0
    rate: float = 0.0
    latency: float = 0.0
    size: tuple[int, int] | None = None
    region: Box | None = None
    detector: str = NO_DETECTOR


def describe_subject(sighting: Sighting) -> LiveSubject:
    """Return a subject with its evidence in words.

    The name and its probability are those of all frames so far, what else it may be is this frame's.
    """
    smoothed, prediction = sighting.smoothed, sighting.prediction
    known: bool | None = None
    if prediction.known is not None and smoothed.state != "undecided":
        known = smoothed.state == "species"
    if not prediction.label:
        evidence = "nothing is enrolled yet"
    elif smoothed.state == "species":
        others = [match for match in prediction.ranking if match.label != smoothed.label]
        word = "else" if prediction.label == smoothed.label else "in this frame"
        evidence = f"{word} {others[0].label}, {percent(others[0].probability)}" if others else ""
        evidence = ", ".join(filter(None, ("known" if known else "", evidence)))
    else:
        evidence = f"most like {prediction.label}, {percent(prediction.probability)}"
    return LiveSubject(smoothed.text, smoothed.state, smoothed.probability, known, evidence)
