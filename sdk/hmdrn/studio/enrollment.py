"""Enrolling photos into a copy of the gallery, and the last enrollment with a decision on each photo."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from hmdrn_runtime.enrollment.enroll import enroll_photos, review_photos
from hmdrn_runtime.enrollment.forecast import Forecast
from hmdrn_runtime.enrollment.report import EnrollmentReport, PhotoReport
from hmdrn_runtime.images.quality import PreparedPhoto
from hmdrn_runtime.progress import ProgressCallback
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


class TrialGallery:
    """A copy of the gallery that photos are enrolled into first: what is cancelled or fails changes nothing.

    The copy is kept, so that it solves changed species alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._original: Recognizer | None = None
        self._copy: Recognizer | None = None

    @contextmanager
    def open(self, recognizer: Recognizer, path: Path) -> Iterator[Recognizer]:
        """Yield a recognizer with a copy of the present gallery, for one thread at a time.

        Args:
            recognizer: The model with the gallery.
            path: The gallery's file, beside which its solved operators are.
        """
        with self._lock:
            if self._copy is None or self._original is not recognizer:
                matcher = recognizer.matcher
                options = (matcher.keep_thumbnails, matcher.keep_file_names)
                self._copy = Recognizer(recognizer.bundle, recognizer.backend, None, *options)
                self._copy.attach_operator_cache(path)
                self._original = recognizer
            state = recognizer.gallery.state
            self._copy.gallery.update(lambda now: state)
            self._copy.refresh()
            yield self._copy


def enroll_species(
    recognizer: Recognizer, species: Mapping[str, Sequence[PreparedPhoto]], report: ProgressCallback
) -> tuple[EnrollmentReport, ...]:
    """Enroll photos by species, as `hmdrn enroll` does: several are reviewed once all are there.

    Args:
        recognizer: The model with the gallery.
        species: The photos by label.
        report: Called with the progress, at the latest after each batch of photos.
    """
    solved, preprocessing = recognizer.solved_gallery, recognizer.preprocessing
    reports = [
        enroll_photos(solved, label, photos, preprocessing, part)
        for label, photos, part in _split_progress("enrolling", species, report)
    ]
    if len(reports) > 1:
        reports = [
            review_photos(solved, enrolled, photos, preprocessing, part)
            for enrolled, (_, photos, part) in zip(
                reports, _split_progress("comparing", species, report), strict=True
            )
        ]
    return tuple(reports)


def _split_progress(
    step: str, species: Mapping[str, Sequence[PreparedPhoto]], report: ProgressCallback
) -> Iterator[tuple[str, Sequence[PreparedPhoto], ProgressCallback]]:
    """Yield each species' label and photos, with a callback for its part of the whole."""
    total, first = sum(map(len, species.values())), 0
    for label, photos in species.items():
        yield label, photos, partial(_report_part, report, f"{step} {label}", first, total)
        first += len(photos)


def _report_part(
    report: ProgressCallback, step: str, first: int, total: int, part: str, done: int, whole: int
) -> None:
    report(step, first + done, total)


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
