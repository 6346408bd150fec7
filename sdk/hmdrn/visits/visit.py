"""Visits and their pictures, as the diary keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from hmdrn_runtime.images.preprocessing import Box

Verdict: TypeAlias = Literal["species", "not-a-subject"]
"""A person's verdict: the label is right, or the picture shows no subject."""


@dataclass(frozen=True)
class Naming:
    """The name of a visit, with its evidence.

    Attributes:
        label: The species; None if unknown, or not a subject.
        known: True if the visit shows an enrolled species, False if it does not, None without a calibrated
            gallery.
        probability: Mean probability of the species over the frames that were known, 0-1; None if unknown.
        score: Mean of the predictions' open-set scores; None without a calibrated gallery.
        nearest: The most probable species, also if the visit is unknown.
        model: Fingerprint of the network that named it.
        generation: Generation of the gallery that named it.
        verdict: A person's verdict; None while only the network has named it.

    Examples:
        >>> hmdrn.Naming("Sooty Albatross", probability=0.9).text
        'Sooty Albatross'
    """

    label: str | None = None
    known: bool | None = None
    probability: float | None = None
    score: float | None = None
    nearest: str | None = None
    model: str = ""
    generation: int = 0
    verdict: Verdict | None = None

    @property
    def text(self) -> str:
        """The label, "not a subject" or "unknown"."""
        return self.label or ("not a subject" if self.verdict == "not-a-subject" else "unknown")


@dataclass(frozen=True)
class VisitPicture:
    r"""A picture of a visit: the box cut out, or the whole frame.

    Attributes:
        reasons: The reasons to keep it: "sharpest", "largest" and "typical".
        time: Time of its capture (UTC).
        width: Pixels.
        height: Pixels.
        box: The subject's place in the frame, x0, y0, x1, y1 in pixels; None for the whole frame.
        jpeg: The picture as JPEG; None until `VisitStore.read_picture` reads it.
        id: Number in the file; 0 before it is stored.

    Examples:
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     picture = visits.find()[0].pictures[0]
        ...     visits.read_picture(picture.id)[:2]
        b'\xff\xd8'
    """

    reasons: tuple[str, ...]
    time: datetime
    width: int
    height: int
    box: Box | None = None
    jpeg: bytes | None = field(default=None, repr=False)
    id: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, without the picture itself."""
        return {
            "id": self.id,
            "reasons": list(self.reasons),
            "time": format_time(self.time),
            "width": self.width,
            "height": self.height,
            "box": None if self.box is None else list(self.box),
        }


@dataclass(frozen=True)
class VisitClip:
    r"""A short film of a visit, with some seconds before and after it.

    Attributes:
        start: Time of its first frame (UTC).
        duration: Seconds.
        width: Pixels.
        height: Pixels.
        webm: The clip as WebM with VP8, without sound; None until `VisitStore.read_clip` reads it.

    Examples:
        >>> from datetime import datetime, timezone
        >>> hmdrn.VisitClip(datetime(2026, 5, 1, tzinfo=timezone.utc), 12.5, 640, 360).duration
        12.5
    """

    start: datetime
    duration: float
    width: int
    height: int
    webm: bytes | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, without the clip itself."""
        return {
            "start": format_time(self.start),
            "duration": round(self.duration, 3),
            "width": self.width,
            "height": self.height,
        }


@dataclass(frozen=True)
class Visit:
    """One subject from its first sight to its last.

    Attributes:
        start: Time of the first sight (UTC); of photos, by their EXIF.
        duration: Seconds to the last sight, by a clock that does not jump.
        source: Name of the camera, film or folder, without passwords.
        naming: Its name, with the evidence.
        track: Number of the subject in its run of `hmdrn watch`; 0 for the whole frame.
        frames: Number of frames that show it.
        pictures: At most three pictures.
        closed: False while the subject is still there.
        id: Number in the file; 0 before it is stored.
        clip: Its clip; None without one. `VisitStore.save_clip` stores it.

    Examples:
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     visit = visits.find()[0]
        >>> visit.closed, visit.duration > 0
        (True, True)
    """

    start: datetime
    duration: float
    source: str
    naming: Naming
    track: int = 0
    frames: int = 1
    pictures: tuple[VisitPicture, ...] = ()
    closed: bool = True
    id: int = 0
    clip: VisitClip | None = None

    @property
    def end(self) -> datetime:
        """Time of the last sight (UTC)."""
        return self.start + timedelta(seconds=self.duration)

    @property
    def label(self) -> str | None:
        """The species; None if unknown, or not a subject."""
        return self.naming.label

    @property
    def known(self) -> bool | None:
        """As `Naming.known`."""
        return self.naming.known

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        naming = self.naming
        return {
            "id": self.id,
            "start": format_time(self.start),
            "end": format_time(self.end),
            "duration": round(self.duration, 3),
            "label": naming.label,
            "known": naming.known,
            "probability": naming.probability,
            "score": naming.score,
            "nearest": naming.nearest,
            "verdict": naming.verdict,
            "source": self.source,
            "track": self.track,
            "frames": self.frames,
            "model": naming.model,
            "generation": naming.generation,
            "closed": self.closed,
            "pictures": [picture.to_dict() for picture in self.pictures],
            "clip": None if self.clip is None else self.clip.to_dict(),
        }


def format_time(time: datetime) -> str:
    """Return a time as in the file and in JSON: UTC with milliseconds, e.g. 2026-05-01T08:30:00.000Z."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
