"""Enrollment of photos, with a check of every photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.enrollment.correction import PhotoCorrection
from hmdrn_runtime.enrollment.evidence import EnrollmentCheck, check_enrollment
from hmdrn_runtime.enrollment.forecast import forecast_gallery
from hmdrn_runtime.enrollment.frame_selection import choose_frames
from hmdrn_runtime.enrollment.report import EnrollmentReport, PhotoReport
from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.gallery.labels import clean_label, select_lookalikes
from hmdrn_runtime.gallery.photo_record import make_record
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.quality import PhotoSource, PreparedPhoto, prepare_photo
from hmdrn_runtime.matching.base import BATCH, Matcher
from hmdrn_runtime.matching.solved_gallery import SolvedGallery
from hmdrn_runtime.progress import ProgressCallback, ignore_progress


def enroll_photos(
    solved: SolvedGallery,
    label: str,
    sources: Sequence[PhotoSource],
    preprocessing: Preprocessing,
    progress: ProgressCallback = ignore_progress,
) -> EnrollmentReport:
    """Add photos to a species of the gallery, and check them; see `Recognizer.enroll`.

    `progress` is called before each batch of photos; an error that it raises adds none of them.
    """
    label = clean_label(label)
    if not sources:
        raise EnrollmentError(f"no photo for {label!r}: give at least one")
    photos, statistics = _prepare(solved.matcher, sources, preprocessing, progress)
    addition = solved.add(label, statistics)
    known = set(addition.before[label].digests) if label in addition.before else set[str]()
    added: list[str] = []
    duplicates: list[str] = []
    for photo in statistics:
        (duplicates if photo.digest in known else added).append(photo.digest)
        known.add(photo.digest)
    report = EnrollmentReport(
        label,
        tuple(added),
        tuple(duplicates),
        addition.after[label].shots,
        addition.holders,
        addition.lookalikes,
    )
    return _check(solved, report, addition.after, photos, statistics)


def review_photos(
    solved: SolvedGallery,
    report: EnrollmentReport,
    sources: Sequence[PhotoSource],
    preprocessing: Preprocessing,
    progress: ProgressCallback = ignore_progress,
) -> EnrollmentReport:
    """Check enrolled photos again, against the present gallery; see `Recognizer.review`."""
    check_kind(report, EnrollmentReport, "report", "pass what enroll has returned", GalleryError)
    if not sources:
        raise EnrollmentError(f"no photo of {report.label!r} to review: pass those that were enrolled")
    label, species = report.label, solved.gallery.species
    if label not in species:
        raise GalleryError(f"{label!r} is no longer in the gallery: enroll it first")
    photos, statistics = _prepare(solved.matcher, sources, preprocessing, progress)
    return _check(solved, report, species, photos, statistics)


def enroll_stream(
    solved: SolvedGallery,
    label: str,
    frames: Iterable[PhotoSource],
    preprocessing: Preprocessing,
    shots: int,
    patience: int,
    unfit: int,
) -> EnrollmentReport:
    """Add the few most useful frames of a live source to a species; see `Recognizer.enroll_stream`."""
    label = clean_label(label)
    species = solved.gallery.species.get(label)
    selected = choose_frames(solved.matcher, preprocessing, label, species, frames, shots, patience, unfit)
    if selected:
        return enroll_photos(solved, label, selected, preprocessing)
    return EnrollmentReport(label, (), (), solved.gallery.species[label].shots)


def correct_enrollment(
    solved: SolvedGallery, label: str, source: PhotoSource, preprocessing: Preprocessing
) -> PhotoCorrection:
    """Put the species of a photo right; see `Recognizer.correct`."""
    label = clean_label(label)
    photos, statistics = _prepare(solved.matcher, [source], preprocessing)
    before, after = solved.correct(label, statistics[0])
    digest = statistics[0].digest
    held = [name for name, species in before.species.items() if digest in species.digests]
    known = label in before.species and digest in before.species[label].digests
    added, known_digests = ((), (digest,)) if known else ((digest,), ())
    similar = select_lookalikes(label, after.species)
    report = EnrollmentReport(label, added, known_digests, after.species[label].shots, similar=similar)
    expected = [forecast_gallery(solved.matcher, state.species) for state in (before, after)]
    return PhotoCorrection(
        label,
        tuple(name for name in held if name != label),
        label not in before.species,
        tuple(name for name in before.species if name not in after.species),
        _check(solved, report, after.species, photos, statistics),
        *(None if forecast is None else forecast.accuracy for forecast in expected),
    )


def _prepare(
    matcher: Matcher,
    sources: Sequence[PhotoSource],
    preprocessing: Preprocessing,
    progress: ProgressCallback = ignore_progress,
) -> tuple[list[PreparedPhoto], list[PhotoStatistics]]:
    photos = [prepare_photo(source, preprocessing) for source in sources]
    statistics: list[PhotoStatistics] = []
    for start in range(0, len(photos), BATCH):
        progress("computing statistics", start, len(photos))
        batch = np.stack([photo.pixels for photo in photos[start : start + BATCH]])
        statistics += matcher.compute_statistics(batch)
    names = [photo.file_name if matcher.keep_file_names else "" for photo in photos]
    records = [make_record(name, photo.taken) for name, photo in zip(names, photos, strict=True)]
    pairs = zip(statistics, records, strict=True)
    return photos, [photo.with_details(record, photo.thumbnail) for photo, record in pairs]


def _list_verdicts(reports: Sequence[PhotoReport], statistics: Sequence[PhotoStatistics]) -> dict[str, str]:
    """Return the verdicts to store, by digest: those of photos that were not enrolled before."""
    verdicts: dict[str, str] = {}
    for report in reports:
        number, verdict = report.duplicate_of, report.verdict
        if number and not report.enrolled:  # a number means nothing later
            name = statistics[number - 1].record.name or "another photo"
            verdict = verdict.replace(f"like photo {number},", f"like {name},")
        if not report.enrolled:
            verdicts.setdefault(report.digest, verdict)
    return verdicts


def _check(
    solved: SolvedGallery,
    report: EnrollmentReport,
    species: Mapping[str, Species],
    photos: Sequence[PreparedPhoto],
    statistics: Sequence[PhotoStatistics],
) -> EnrollmentReport:
    """Complete a report with the check of its photos."""
    label = report.label
    previous = species[label].digests - set(report.added)
    check = EnrollmentCheck(solved.matcher, label, species, statistics, photos, previous)
    reports, nearest, confusion = check_enrollment(check)
    solved.annotate(label, _list_verdicts(reports, statistics))
    return replace(report, photos=reports, nearest=nearest, confusion=confusion)
