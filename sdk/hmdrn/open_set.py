"""Telling known species from unknown ones: a bundle's background, and a gallery's calibration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hmdrn_calibration.open_set.background_fit import COUNT, fit_background
from hmdrn_calibration.open_set.threshold_fit import Passing
from hmdrn_calibration.open_set.threshold_fit import calibrate as fit
from hmdrn_calibration.open_set.threshold_fit import passing as find_passing
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import MANIFEST, open_bundle, sha256_of
from hmdrn_runtime.datasets.dataset import Dataset, Photo, find_splits, open_dataset
from hmdrn_runtime.errors import BundleError, ExportError, GalleryError
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.io.files import reason, write_atomically
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import FILE, Background
from hmdrn_runtime.open_set.threshold import Calibration, applied
from hmdrn_runtime.recognizer import BATCH, Recognizer

PHOTOS = 20
"""Photos of a background species that are looked at, at most."""

Step = Callable[[str, int, int], None]


def calibrate(recognizer: Recognizer, far: float = 0.05) -> Calibration:
    """Make the predictions of a recognizer say whether a photo is of an enrolled species at all.

    The calibration is kept with the gallery. Do it again when species have been added.

    Args:
        recognizer: With the species enrolled; its bundle has a background.
        far: Share of photos of other species that may be taken for known, from 0.01 to 0.5.

    Raises:
        BundleError: The bundle has no background.
        GalleryError: The rate is out of range, nothing is enrolled, or the head is attention.
    """
    background = require_background(recognizer)
    found = fit(recognizer.matcher, recognizer.gallery.species, background, far)
    recognizer.gallery.calibrate(found.to_dict())
    return found


def passing(recognizer: Recognizer) -> Passing:
    """What a recognizer's calibration costs: which of its own photos pass, each left out of its species.

    Raises:
        BundleError: The bundle has no background.
        GalleryError: The gallery is not calibrated, or with another background, or the head is attention.
    """
    background, kept = require_background(recognizer), recognizer.gallery.calibration
    if kept is None or not isinstance(recognizer.matcher, RidgeMatcher):
        raise GalleryError("the gallery is not calibrated: calibrate it first")
    calibration = applied(kept, background)
    if calibration is None:
        raise GalleryError(str(recognizer.calibration_doubt))
    threshold = calibration.threshold
    return find_passing(recognizer.matcher, recognizer.gallery.species, background.operators, threshold)


def require_background(recognizer: Recognizer) -> Background:
    """The background of a recognizer's bundle.

    Raises:
        BundleError: It has none.
    """
    if recognizer.background is None:
        raise BundleError(
            f"{recognizer.bundle.path} has no background species to tell unknowns by: export it with "
            "--background DATA, photographs of species that need not be yours"
        )
    return recognizer.background


def add_background(
    bundle: Path, data: Sequence[str | os.PathLike[str]], report: Step, count: int = COUNT
) -> Background:
    """Write impostor statistics and background species into a bundle.

    Args:
        bundle: Its folder; its manifest is replaced.
        data: Data sets of look-alike species each; of those with splits the one called train, if any.
        report: Told of the progress.
        count: As for `fit_background`.

    Raises:
        ExportError: The head is attention, or the bundle cannot be written.
        DatasetError: Data that cannot be used, or too little of it.
        ImageError: A photo that cannot be read.
    """
    opened = open_bundle(bundle)
    recognizer = Recognizer(opened, open_backend(opened))
    matcher = recognizer.matcher
    if not isinstance(matcher, RidgeMatcher):
        raise ExportError("--background is for bundles with the ridge head: this one's is attention")
    datasets = [open_background_data(path) for path in data]
    groups = {
        str(dataset.source): photo_statistics(recognizer, dataset.classes, PHOTOS, report)
        for dataset in datasets
    }
    provenance = {
        "data": [
            {"name": d.source.name, "split": d.split, "species": len(d.classes), "photos": len(d)}
            for d in datasets
        ]
    }
    background = fit_background(matcher, groups, provenance, count=count)
    manifest = opened.manifest
    try:
        (bundle / FILE).write_bytes(background.to_bytes())
        changed = replace(
            manifest,
            files={**manifest.files, FILE: sha256_of(bundle / FILE)},
            model={**manifest.model, "background": background.to_dict()},
        )
        write_atomically(bundle / MANIFEST, changed.to_json().encode())
    except OSError as error:
        raise ExportError(f"cannot write the background to {bundle}: {reason(error)}") from error
    return background


def open_background_data(path: str | os.PathLike[str]) -> Dataset:
    """A data set, or the split of it that is called train."""
    return open_dataset(path, "train" if "train" in find_splits(path) else "all")


def photo_statistics(
    recognizer: Recognizer, classes: Mapping[str, Sequence[Photo]], most: int | None, report: Step
) -> dict[str, list[PhotoStatistics]]:
    """Statistics of photographs by species, of each the first `most` in an order drawn once and for all."""
    rng = np.random.default_rng(0)
    mode = recognizer.bundle.manifest.input.preprocessing
    found: dict[str, list[PhotoStatistics]] = {}
    for done, (label, photos) in enumerate(classes.items()):
        report("looking at photos", done, len(classes))
        chosen = [photos[i] for i in rng.permutation(len(photos))[:most]]
        found[label] = [
            statistics
            for start in range(0, len(chosen), BATCH)
            for statistics in recognizer.photo_statistics(
                np.stack([photo.prepare(mode) for photo in chosen[start : start + BATCH]])
            )
        ]
    return found
