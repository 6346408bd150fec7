"""The last enrollment, with a decision on each photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hmdrn_runtime.enrollment.forecast import Forecast
from hmdrn_runtime.enrollment.report import EnrollmentReport, PhotoReport
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.recognizer import Recognizer


@dataclass(frozen=True)
class EnrolledPhoto:
    """A photo of an enrollment.

    Attributes:
        photo: The network's input.
        report: Its verdict.
        decision: A person's decision in words, e.g. "left out"; empty until there is one.
    """

    photo: PreparedPhoto = field(repr=False)
    report: PhotoReport
    decision: str = ""


@dataclass(frozen=True)
class EnrollmentBatch:
    """An enrollment.

    Attributes:
        number: Its number, from 1.
        reports: A report for each species.
        photos: The photos of all species.
        problems: A line for each file that could not be used.
        before: Forecast of the gallery before it; None if there was none.
        after: Forecast after it and the decisions.
    """

    number: int
    reports: tuple[EnrollmentReport, ...]
    photos: tuple[EnrolledPhoto, ...]
    problems: tuple[str, ...]
    before: Forecast | None
    after: Forecast | None

    def decide(self, index: int, decision: str, after: Forecast | None) -> EnrollmentBatch:
        """Return the enrollment with a decision on one photo, and the forecast after it."""
        photos = list(self.photos)
        photos[index] = replace(photos[index], decision=decision)
        return replace(self, photos=tuple(photos), after=after)


def enroll_species(
    recognizer: Recognizer, species: Mapping[str, Sequence[PreparedPhoto]]
) -> tuple[EnrollmentReport, ...]:
    """Enroll photos by species, as `hmdrn enroll` does: several are reviewed once all are there."""
    reports = [recognizer.enroll(label, photos) for label, photos in species.items()]
    if len(reports) > 1:
        reports = [recognizer.review(*pair) for pair in zip(reports, species.values(), strict=True)]
    return tuple(reports)


def list_photos(
    reports: Sequence[EnrollmentReport], species: Mapping[str, Sequence[PreparedPhoto]]
) -> tuple[EnrolledPhoto, ...]:
    """Return the photos of an enrollment with their verdicts."""
    pairs = zip(reports, species.values(), strict=True)
    return tuple(
        EnrolledPhoto(photo, report)
        for enrolled, photos in pairs
        for photo, report in zip(photos, enrolled.photos, strict=True)
    )
