"""Distinguish known from unknown species: a bundle's background, and a gallery's calibration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hmdrn_calibration.open_set.background_fit import fit_background
from hmdrn_calibration.open_set.threshold_fit import (
    AcceptanceReport,
    fit_calibration,
    measure_acceptance,
    measure_unknown,
)
from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, Bundle, compute_sha256, open_bundle
from hmdrn_runtime.datasets.dataset import Dataset, Photo, find_splits, open_dataset
from hmdrn_runtime.datasets.reading import PhotoReader, apply_to_all
from hmdrn_runtime.errors import BundleError, ExportError, GalleryError
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.images.quality import PhotoSource, list_photos, prepare_photo
from hmdrn_runtime.io.files import describe_os_error, write_atomically
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import FILE, Background, open_background
from hmdrn_runtime.open_set.threshold import (
    Calibration,
    active_calibration,
    false_accept_rate,
    unknown_scores,
)
from hmdrn_runtime.progress import ProgressCallback
from hmdrn_runtime.recognizer import Recognizer

MIN_UNKNOWN = 10
"""Fewest photos of unknown species that a threshold is fitted with."""
MAX_PHOTOS = 20
"""Most photos of a background species that are used."""


def calibrate_threshold(
    recognizer: Recognizer,
    far: float = 0.05,
    unknown: PhotoSource | Iterable[PhotoSource] | None = None,
) -> Calibration:
    """Fit the threshold by which a recognizer decides whether a photo shows an enrolled species at all.

    The calibration is stored in the gallery. Repeat it after adding species.

    Args:
        recognizer: Recognizer with the species enrolled; its bundle has a background.
        far: False accept rate: the share of photos of other species that may count as known, 0.01 to 0.5.
        unknown: Photos from the gallery's own place that show none of its species, at least 10, better 100:
            the threshold is fitted with their scores, which the gallery keeps. None fits it with the scores
            that the gallery has, if any; an empty list drops them.

    Raises:
        BundleError: The bundle has no background.
        GalleryError: The rate is out of range, nothing is enrolled, the head is attention, or there are too
            few photos.
        ImageError: A photo cannot be read.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> hmdrn.calibrate_threshold(birds, far=0.05).far
        0.05
    """
    background = require_background(recognizer)
    gallery, matcher = recognizer.gallery, recognizer.matcher
    if unknown is None:
        scores = unknown_scores(gallery.calibration, background)
    else:
        photos = list_photos(unknown)
        if 0 < len(photos) < MIN_UNKNOWN:
            raise GalleryError(
                f"{len(photos)} photos of unknown species are too few to fit a threshold with: give at least "
                f"{MIN_UNKNOWN}, better 100"
            )
        batches = _compute_batches(recognizer, photos)
        scores = measure_unknown(matcher, gallery.species, background, batches) if photos else ()
    return _fit(recognizer, background, far, scores)


def _compute_batches(
    recognizer: Recognizer, photos: Sequence[PhotoSource]
) -> Iterator[list[PhotoStatistics]]:
    """Yield the statistics of photos, a batch at a time: many would fill a device's memory."""
    for start in range(0, len(photos), BATCH):
        prepared = [prepare_photo(photo, recognizer.preprocessing) for photo in photos[start : start + BATCH]]
        yield recognizer.matcher.compute_statistics(np.stack([photo.pixels for photo in prepared]))


def recalibrate_threshold(
    recognizer: Recognizer, far: float | None = None, before: Mapping[str, Any] | None = None
) -> None:
    """Fit a gallery's threshold anew after a change of its species.

    Nothing is done without a rate, a species or a background.

    Args:
        recognizer: Recognizer with the changed gallery.
        far: As in `calibrate_threshold`; the rate of the gallery's calibration if None.
        before: Calibration that takes the place of one that the change has dropped.
    """
    stored, background = recognizer.gallery.calibration or before, recognizer.background
    far = far or false_accept_rate(stored)
    if far is not None and len(recognizer.gallery) and background is not None:
        _fit(recognizer, background, far, unknown_scores(stored, background))


def _fit(recognizer: Recognizer, background: Background, far: float, scores: Sequence[float]) -> Calibration:
    """Fit a gallery's threshold, also with scores of unknown photos, and store it."""
    gallery = recognizer.gallery
    calibration = fit_calibration(recognizer.matcher, gallery.species, background, far, scores)
    gallery.calibrate(calibration.to_dict())
    return calibration


def evaluate_acceptance(recognizer: Recognizer) -> AcceptanceReport:
    """Measure the share of enrolled photos that the calibration accepts, each left out of its species.

    Raises:
        BundleError: The bundle has no background.
        GalleryError: The gallery is not calibrated, or with another background, or the head is attention.
    """
    background, stored = require_background(recognizer), recognizer.gallery.calibration
    if stored is None or not isinstance(recognizer.matcher, RidgeMatcher):
        raise GalleryError("the gallery is not calibrated: calibrate it first")
    calibration = active_calibration(stored, background)
    if calibration is None:
        raise GalleryError(str(recognizer.calibration_issue))
    threshold = calibration.threshold
    return measure_acceptance(recognizer.matcher, recognizer.gallery.species, background.operators, threshold)


def require_background(recognizer: Recognizer) -> Background:
    """Return the background of a recognizer's bundle.

    Raises:
        BundleError: The bundle has no background.
    """
    check_kind(recognizer, Recognizer, "recognizer", "pass what hmdrn.load returns", GalleryError)
    if recognizer.background is None:
        raise BundleError(
            f"{recognizer.bundle.path} has no background species, which unknowns are compared with: "
            "export it with --background DATA, photos of any other species"
        )
    return recognizer.background


def add_background(
    bundle: Path,
    data: Sequence[str | os.PathLike[str]],
    report: ProgressCallback,
    count: int | None = None,
    reader: PhotoReader | None = None,
) -> Background:
    """Write impostor statistics and background species into a bundle.

    Args:
        bundle: The bundle's folder; its manifest is replaced.
        data: Data sets of look-alike species each; the split called train is used if there is one.
        report: Called with the progress.
        count: As for `fit_background`.
        reader: Collects photos that cannot be read, which are left out; None refuses them.

    Raises:
        ExportError: The head is attention, or the bundle cannot be written.
        DatasetError: The data cannot be used, or there are too few.
    """
    opened = open_bundle(bundle)
    recognizer = Recognizer(opened, open_backend(opened))
    matcher = recognizer.matcher
    if not isinstance(matcher, RidgeMatcher):
        raise ExportError("--background is for bundles with the ridge head: this one's is attention")
    datasets = apply_to_all(open_background_data, data)
    used = reader or PhotoReader()
    groups = {
        str(dataset.source): compute_photo_statistics(recognizer, dataset.classes, MAX_PHOTOS, report, used)
        for dataset in datasets
    }
    if reader is None:
        used.refuse()
    sources = [
        {"name": d.source.name, "split": d.split, "species": len(d.classes), "photos": len(d)}
        for d in datasets
    ]
    background = fit_background(matcher, groups, {"data": sources}, count=count, report=report)
    _write_background(opened, background)
    return background


def copy_background(source: Path, bundle: Path) -> bool:
    """Copy the background of the bundle `source` into another bundle of the same network.

    Returns:
        False if the networks differ, in weights, configuration or preprocessing: nothing is copied then.

    Raises:
        ExportError: The bundle cannot be written.
    """
    old, new = open_bundle(source), open_bundle(bundle)
    background = open_background(old)
    if background is None or old.manifest.network.fingerprint != new.manifest.network.fingerprint:
        return False
    _write_background(new, background)
    return True


def _write_background(bundle: Bundle, background: Background) -> None:
    """Write a background's file, and the manifest that names it."""
    manifest, path = bundle.manifest, bundle.path
    try:
        (path / FILE).write_bytes(background.to_bytes())
        changed = replace(
            manifest,
            files={**manifest.files, FILE: compute_sha256(path / FILE)},
            model={**manifest.model, "background": background.to_dict()},
        )
        write_atomically(path / MANIFEST_NAME, changed.to_json().encode())
    except OSError as error:
        raise ExportError(f"cannot write the background to {path}: {describe_os_error(error)}") from error


def open_background_data(path: str | os.PathLike[str]) -> Dataset:
    """Open a data set, or its split called train if there is one."""
    return open_dataset(path, "train" if "train" in find_splits(path) else "all")


def compute_photo_statistics(
    recognizer: Recognizer,
    classes: Mapping[str, Sequence[Photo]],
    limit: int | None,
    report: ProgressCallback,
    reader: PhotoReader | None = None,
) -> dict[str, list[PhotoStatistics]]:
    """Compute statistics of photos by species: of each, `limit` photos in a fixed random order.

    `reader` collects photos that cannot be read, and leaves them out; without one they raise DatasetError.
    """
    used = reader or PhotoReader()
    rng = np.random.default_rng(0)
    preprocessing = recognizer.preprocessing
    statistics: dict[str, list[PhotoStatistics]] = {}
    for done, (label, photos) in enumerate(classes.items()):
        report("encoding photos", done, len(classes))
        shuffled = (photos[i] for i in rng.permutation(len(photos)))
        readable = (pixels for _, pixels in islice(used.read(shuffled, preprocessing), limit))
        members: list[PhotoStatistics] = []
        while batch := list(islice(readable, BATCH)):
            members += recognizer.matcher.compute_statistics(np.stack(batch))
        if members:
            statistics[label] = members
    if reader is None:
        used.refuse()
    return statistics
