"""Put wrong names right, teach the gallery, name earlier visits anew, and undo it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hmdrn.open_set import recalibrate_threshold
from hmdrn.visits.changes import EnrolledPhoto, VisitChange, list_changes, log_change, restore_names
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.naming import NameTally
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Naming, Verdict, Visit
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import GalleryError, HmdrnError
from hmdrn_runtime.gallery.labels import clean_label
from hmdrn_runtime.images.preprocessing import hash_pixels
from hmdrn_runtime.images.quality import PreparedPhoto, measure_quality, prepare_photo
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.progress import ProgressCallback, ignore_progress
from hmdrn_runtime.recognizer import Recognizer

NEW_LABEL = "New species"
"""Beginning of the label of a species that has no name yet."""


@dataclass(frozen=True)
class Correction:
    """Result of a correction.

    Attributes:
        label: The species; None if the visits are not of a subject.
        is_new: Whether the species is new to the gallery.
        visits: The visits with their new name.
        enrolled: Pictures that the gallery has learned.
        removed: Pictures that it has forgotten, because an earlier correction was wrong.
        enrollment: Report on the pictures that it has learned; None if it has learned none.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> with hmdrn.VisitStore("site7.visits") as visits:
        ...     hmdrn.correct_visits(visits, [1], "Sooty Albatross", birds).enrolled > 0
        True
    """

    label: str | None
    is_new: bool
    visits: tuple[Visit, ...]
    enrolled: int
    removed: int
    enrollment: EnrollmentReport | None = None


def correct_visits(
    store: VisitStore,
    ids: Sequence[int],
    label: str | None,
    recognizer: Recognizer | None = None,
    gallery: str | os.PathLike[str] | None = None,
    report: ProgressCallback = ignore_progress,
) -> Correction:
    """Give visits their right name, and enroll their pictures.

    The recognizer names the next visit of that kind by them at once, and so does every process that follows
    the gallery's file.

    Args:
        store: The file of the visits.
        ids: Numbers of the visits; at least one.
        label: The species, new or known; None if the pictures show no subject.
        recognizer: Learns the pictures; may be None without a label, if no earlier correction taught it some.
        gallery: File that the recognizer's gallery is written to, calibrated anew if it was calibrated; None
            leaves that to the caller.
        report: Called with the progress while nothing is changed yet: what it raises ends the work.

    Raises:
        HmdrnError: No such visit, a bad label, pictures that cannot be enrolled, or a file that cannot be
            written; nothing is changed then.
    """
    visits = [store.get(number) for number in dict.fromkeys(ids)]
    if not visits:
        raise HmdrnError("no visit to correct: give the number of at least one")
    label = None if label is None else clean_label(label)
    wrong = [photo for photo in _find_enrolled(store, ids) if photo[0] != label]
    if recognizer is None and (label is not None or wrong):
        raise HmdrnError(
            "these pictures were enrolled by an earlier correction: give the gallery, to remove them from it"
            if label is None
            else "a species is learned by a gallery: give one"
        )
    is_new = recognizer is not None and label is not None and label not in recognizer.gallery
    photos: list[tuple[int, PreparedPhoto]] = []
    if recognizer is not None and label is not None:
        for done, visit in enumerate(visits):
            report("reading pictures", done, len(visits))
            photos += [(visit.id, photo) for photo in read_photos(store, visit, recognizer)]
    report("enrolling", 0, 0)
    enrollment: EnrollmentReport | None = None
    calibration = None if recognizer is None else recognizer.gallery.calibration
    with store.transaction() as connection:
        removed: list[EnrolledPhoto] = []
        enrolled: list[EnrolledPhoto] = []
        try:
            if recognizer is not None:
                removed = [gone for photo in wrong if (gone := _forget(recognizer, photo)) is not None]
            if recognizer is not None and label is not None and photos:
                enrollment = recognizer.enroll(label, [photo for _, photo in photos])
                enrolled = [(label, hash_pixels(photo.pixels), visit) for visit, photo in photos]
            names = {visit.id: _name_by_person(visit.naming, label, recognizer) for visit in visits}
            path = None if gallery is None else str(gallery)
            log_change(connection, "correct", names, path, enrolled, removed)
            if recognizer is not None and gallery is not None and (enrolled or removed):
                _save(recognizer, gallery)
        except BaseException:
            if recognizer is not None:
                _revert(store, recognizer, enrolled, removed)
                recognizer.gallery.calibrate(calibration)
            raise
    corrected = tuple(store.get(visit.id) for visit in visits)
    return Correction(label, is_new, corrected, len(enrolled), len(removed), enrollment)


def rename_visits(
    store: VisitStore,
    recognizer: Recognizer,
    where: VisitFilter | None = None,
    report: ProgressCallback = ignore_progress,
) -> list[tuple[Visit, Visit]]:
    """Name visits anew by their pictures, with the present gallery; names that a person gave stay.

    Args:
        store: The file of the visits.
        recognizer: Names them.
        where: The visits; all if None.
        report: Called with the progress.

    Returns:
        The visits whose species changed, before and after.

    Raises:
        HmdrnError: Nothing has been enrolled, or the file cannot be written.
    """
    visits = [v for v in store.find(replace(where or VisitFilter(), corrected=False)) if v.pictures]
    model = recognizer.bundle.manifest.network.fingerprint
    names: dict[int, Naming] = {}
    for start in range(0, len(visits), BATCH):
        part = visits[start : start + BATCH]
        pictures = [(visit.id, picture.id) for visit in part for picture in visit.pictures]
        tallies: dict[int, NameTally] = {}
        predictions = recognizer.classify_batch([store.read_picture(picture) for _, picture in pictures])
        for (visit_id, _), prediction in zip(pictures, predictions, strict=True):
            tallies.setdefault(visit_id, NameTally()).add(prediction)
        generation = recognizer.gallery.generation
        names |= {visit: tally.result(model, generation) for visit, tally in tallies.items()}
        report("naming", min(start + BATCH, len(visits)), len(visits))
    changed = [visit for visit in visits if visit.naming.text != names[visit.id].text]
    if changed:
        with store.transaction() as connection:
            # Those that a person has corrected meanwhile keep that name.
            still = {visit.id for visit in store.find(replace(where or VisitFilter(), corrected=False))}
            changed = [visit for visit in changed if visit.id in still]
            if changed:
                log_change(connection, "rename", {visit.id: names[visit.id] for visit in changed})
    return [(visit, store.get(visit.id)) for visit in changed]


def undo_change(
    store: VisitStore, recognizer: Recognizer | None = None, gallery: str | os.PathLike[str] | None = None
) -> VisitChange:
    """Undo the last correction or renaming that is not undone yet.

    Args:
        store: The file of the visits.
        recognizer: Unlearns the pictures that the correction enrolled; may be None if it enrolled none.
        gallery: File that the recognizer's gallery is written to.

    Raises:
        HmdrnError: There is nothing to undo, or a file cannot be written.
    """
    changes = list_changes(store)
    if not changes:
        raise HmdrnError(f"nothing to undo in {store.path}: there was no correction, or all are undone")
    change = changes[0]
    if (change.enrolled or change.removed) and recognizer is None:
        raise HmdrnError(f"the change taught the gallery {change.gallery}: give it, to undo that too")
    with store.transaction() as connection:
        restore_names(connection, change)
        if recognizer is not None and (change.enrolled or change.removed):
            _revert(store, recognizer, change.enrolled, change.removed)
            if gallery is not None:
                _save(recognizer, gallery)
    return change


def choose_new_label(recognizer: Recognizer) -> str:
    """Return a label for a species that has no name yet: "New species 1", or a higher number."""
    number = 1
    while f"{NEW_LABEL} {number}" in recognizer.gallery:
        number += 1
    return f"{NEW_LABEL} {number}"


def read_photos(store: VisitStore, visit: Visit, recognizer: Recognizer) -> list[PreparedPhoto]:
    """Return a visit's pictures prepared to be enrolled: those of good quality, if there are any.

    Their time of capture is the visit's start, for they are one burst: pictures that are alike count as one.
    The gallery calls them `visit-<visit>-<n>.jpg`.
    """
    photos = [
        replace(
            prepare_photo(
                store.read_picture(picture.id), recognizer.preprocessing, f"a picture of visit {visit.id}"
            ),
            file_name=f"visit-{visit.id}-{place}.jpg",
            taken=visit.start,
        )
        for place, picture in enumerate(visit.pictures, 1)
    ]
    return [photo for photo in photos if not measure_quality(photo).issues] or photos


def _name_by_person(naming: Naming, label: str | None, recognizer: Recognizer | None) -> Naming:
    verdict: Verdict = "not-a-subject" if label is None else "species"
    named = replace(naming, label=label, known=None if label is None else True, verdict=verdict)
    named = replace(named, probability=None if label is None else 1.0)
    if recognizer is None:
        return named
    return replace(named, generation=recognizer.gallery.generation)


def _find_enrolled(store: VisitStore, visits: Sequence[int]) -> list[EnrolledPhoto]:
    """Return the photos of some visits that corrections have enrolled, and none has removed since."""
    photos: dict[EnrolledPhoto, None] = {}
    for change in reversed(list_changes(store, visits)):
        for photo in change.removed:
            photos.pop(photo, None)
        photos |= dict.fromkeys(photo for photo in change.enrolled if photo[2] in visits)
    return list(photos)


def _forget(recognizer: Recognizer, photo: EnrolledPhoto) -> EnrolledPhoto | None:
    """Remove a photo, and return it with its label; None if it is not there, or is a part of a sum."""
    label, digest, visit = photo
    species = recognizer.gallery.species
    if label not in species:  # it was renamed meanwhile
        label = next((name for name in species if digest in species[name].digests), label)
    try:
        recognizer.forget(label, digest)
    except GalleryError:
        return None
    return label, digest, visit


def _save(recognizer: Recognizer, gallery: str | os.PathLike[str]) -> None:
    """Write the changed gallery, calibrated anew if it was calibrated."""
    recognizer.save_gallery(gallery, lambda: recalibrate_threshold(recognizer))


def _revert(
    store: VisitStore,
    recognizer: Recognizer,
    enrolled: Sequence[EnrolledPhoto],
    removed: Sequence[EnrolledPhoto],
) -> None:
    """Remove the photos that a change enrolled, and enroll again those that it removed."""
    for photo in enrolled:
        _forget(recognizer, photo)
    for number in dict.fromkeys(visit for _, _, visit in removed):
        photos = {
            hash_pixels(photo.pixels): photo for photo in read_photos(store, store.get(number), recognizer)
        }
        for label, digest, visit in removed:
            if visit == number and digest in photos:
                recognizer.enroll(label, photos[digest])
