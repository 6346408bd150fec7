"""Enrollment and classification on a device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.report import BackendReport, backend_report
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.enrollment.frame_selection import PATIENCE, SHOTS, UNFIT, choose_frames
from hmdrn_runtime.enrollment.leave_one_out import Examination, examine
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import EnrollmentError, GalleryError, HmdrnError, ImageError
from hmdrn_runtime.explanation import Explanation, explain_levels
from hmdrn_runtime.gallery.file import sync_gallery
from hmdrn_runtime.gallery.gallery import (
    Gallery,
    check_network,
    clean_label,
    find_species,
)
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.images.preprocessing import Box, Boxes, ImageSource, check_boxes
from hmdrn_runtime.images.quality import PhotoSource, PreparedPhoto, prepare_photo
from hmdrn_runtime.images.query_preprocessing import prepare_boxes, prepare_query
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.live_worker import LiveWorker
from hmdrn_runtime.matching.factory import open_matcher
from hmdrn_runtime.matching.index.operator_cache import operators_path
from hmdrn_runtime.matching.snapshots import Generations
from hmdrn_runtime.open_set.background import Background
from hmdrn_runtime.open_set.threshold import calibration_doubt
from hmdrn_runtime.prediction import Prediction, predictions

BATCH = 32
"""Photos that go through the network at once; bounds its memory."""


class Recognizer:
    """Names the species on photos from a few photos of each; `hmdrn.load` makes one.

    Adding a species neither rebuilds nor re-exports anything. Several threads may classify while another
    enrolls, merges or saves: every call sees the species of one generation of the gallery. The thread that
    has changed the gallery sees what it did at its next call, which waits until that is solved. No other
    thread waits: until then the generation before answers it. `refresh` waits in any thread.

    Args:
        bundle: The model.
        backend: Runs the bundle's graphs.
        gallery: Species enrolled before; empty if None.
        keep_thumbnails: Whether photos that are enrolled from now on are kept, small, 21 KB each: with them
            a gallery can be carried to another model.

    Raises:
        GalleryError: The gallery was enrolled with another network.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        gallery: Gallery | None = None,
        keep_thumbnails: bool = False,
    ) -> None:
        network = bundle.manifest.network
        if gallery is not None:
            check_network(network, gallery.network, "the gallery")
        self.bundle = bundle
        self.backend = backend
        self._gallery = Gallery(network) if gallery is None else gallery
        self.matcher = open_matcher(network, backend, bundle.variant)
        self.matcher.keep_thumbnails = keep_thumbnails
        self.generations = Generations(self._gallery, self.matcher, bundle)
        self._live = LiveWorker(self.classify)

    def __repr__(self) -> str:
        return f"<Recognizer of bundle {self.bundle.path.name} on {self.backend.name}, {self.gallery!r}>"

    @property
    def backend_report(self) -> BackendReport:
        """What runs the graphs, and why not the bundle's other variants."""
        return backend_report(self.bundle, self.backend)

    @property
    def background(self) -> Background | None:
        """The species in general that came with the bundle, read when first asked for; None without any."""
        return self.generations.background

    @property
    def calibration_doubt(self) -> str | None:
        """Why the gallery's calibration is not applied with this bundle, or might mislead; else None.

        Raises:
            GalleryError: The calibration is damaged.
        """
        kept = self.gallery.calibration
        return None if kept is None else calibration_doubt(kept, self.background)

    @property
    def gallery(self) -> Gallery:
        """The species; changes made to it are seen by the next call of the thread that makes them."""
        return self._gallery

    def enroll(self, label: str, photos: PhotoSource | Iterable[PhotoSource]) -> EnrollmentReport:
        """Add photos to a species, which need not exist yet. All of them count, or none.

        Args:
            label: The species' name.
            photos: One or more photos: paths, bytes, PIL images or RGB uint8 arrays (H, W, 3); or an array
                (N, H, W, 3) of several.

        Returns:
            What the photos are worth: which are doubtful and why, and what the species is confused with.

        Raises:
            ImageError: A photo cannot be used; the message names it.
            EnrollmentError: A bad label, no photo, or statistics that cannot be solved.
        """
        label = clean_label(label)
        sources = _sources(photos)
        if not sources:
            raise EnrollmentError(f"no photo for {label!r}: give at least one")
        mode = self.bundle.manifest.input.preprocessing
        seen = [prepare_photo(source, mode) for source in sources]
        statistics = self.photo_statistics(np.stack([one.pixels for one in seen]))
        addition = self.generations.add(label, statistics)
        planned = addition.after
        before = addition.before[label].digests if label in addition.before else frozenset[str]()
        known = set(before)
        added: list[str] = []
        duplicates: list[str] = []
        for photo in statistics:
            (duplicates if photo.digest in known else added).append(photo.digest)
            known.add(photo.digest)
        work = Examination(self.matcher, self.background, label, planned, statistics, seen, before)
        return EnrollmentReport(
            label,
            tuple(added),
            tuple(duplicates),
            planned[label].shots,
            addition.holders,
            addition.lookalikes,
            *examine(work),
        )

    def review(
        self, report: EnrollmentReport, photos: PhotoSource | Iterable[PhotoSource]
    ) -> EnrollmentReport:
        """Look at an enrollment once more, beside the species that were enrolled after it.

        Args:
            report: What `enroll` returned.
            photos: What it was given.

        Raises:
            GalleryError: The species is gone.
            ImageError: As `enroll`.
        """
        species = self.gallery.species
        if report.label not in species:
            raise GalleryError(f"{report.label!r} is no longer in the gallery: enroll it first")
        mode = self.bundle.manifest.input.preprocessing
        seen = [prepare_photo(source, mode) for source in _sources(photos)]
        statistics = self.photo_statistics(np.stack([one.pixels for one in seen]))
        before = species[report.label].digests - set(report.added)
        work = Examination(
            self.matcher, self.background, report.label, species, statistics, seen, frozenset(before)
        )
        found, nearest, confusion = examine(work)
        return replace(report, photos=found, nearest=nearest, confusion=confusion)

    def enroll_stream(
        self,
        label: str,
        frames: Iterable[PhotoSource],
        shots: int = SHOTS,
        patience: int = PATIENCE,
        unfit: int = UNFIT,
    ) -> EnrollmentReport:
        """Add the few frames of a live source that teach most, until the species is good enough.

        See `streaming.choose_frames` for the arguments, for which frames are kept and when it ends.

        Returns:
            As `enroll`, of the frames kept; without photos where none adds to those that the species has.

        Raises:
            EnrollmentError: No frame was sharp and well lit enough, or a number is below 1; as `enroll`.
            ImageError: A frame cannot be used.
        """
        chosen = choose_frames(self, label, frames, shots, patience, unfit)
        if chosen:
            return self.enroll(label, chosen)
        label = clean_label(label)
        return EnrollmentReport(label, (), (), self.gallery.species[label].shots)

    def photo_statistics(self, pixels: npt.NDArray[np.uint8]) -> list[PhotoStatistics]:
        """What the gallery keeps of prepared photos, uint8 (N, 84, 84, 3)."""
        return [
            s
            for i in range(0, len(pixels), BATCH)
            for s in self.matcher.photo_statistics(pixels[i : i + BATCH])
        ]

    @overload
    def classify(self, image: ImageSource, boxes: None = None, top: int = 5) -> Prediction: ...

    @overload
    def classify(self, image: ImageSource, boxes: Boxes, top: int = 5) -> list[Prediction]: ...

    def classify(
        self, image: ImageSource, boxes: Boxes | None = None, top: int = 5
    ) -> Prediction | list[Prediction]:
        """Name the species on a photo.

        Args:
            image: Path, bytes, PIL image or RGB uint8 array (H, W, 3).
            boxes: Regions (x0, y0, x1, y1) in pixels, e.g. a detector's, as a list or an array of (N, 4);
                each is classified by itself. Of a box that reaches over the photo's edge, the part on the
                photo is looked at, however small a part of the box it is.
            top: Species in the ranking at most.

        Returns:
            A prediction, or with `boxes` one for each of them.

        Raises:
            ImageError: The photo or a box cannot be used.
            GalleryError: Nothing has been enrolled.
        """
        mode = self.bundle.manifest.input.preprocessing
        if boxes is None:
            return self._classify_pixels(prepare_query(image, mode)[None], top)[0]
        check_boxes(boxes)
        parts = prepare_boxes(image, boxes, mode)
        return self._classify_pixels(np.stack(parts), top) if parts else []

    def classify_batch(self, images: PhotoSource | Iterable[PhotoSource], top: int = 5) -> list[Prediction]:
        """Name the species on several photos; as `classify` for each, in fewer passes of the network."""
        mode = self.bundle.manifest.input.preprocessing
        sources = _sources(images)
        pixels = [
            one.pixels if isinstance(one, PreparedPhoto) else prepare_query(one, mode) for one in sources
        ]
        return self._classify_pixels(np.stack(pixels), top) if pixels else []

    def explain(self, image: ImageSource, box: Box | None = None, against: str | None = None) -> Explanation:
        """Name the species on a photo, and show where on it the best and another species differ.

        Args:
            image: As `classify` takes it.
            box: The region to look at; the whole photo if None.
            against: The species to compare the best one with; the second-best if None, or if it is the
                best itself.

        Returns:
            The prediction, what the mask kept, and the errors of both species by location.

        Raises:
            ImageError: The photo or the box cannot be used.
            GalleryError: Nothing has been enrolled, or no species `against`.
            BundleError: An attention bundle of an earlier version, whose graphs do not tell.
        """
        mode = self.bundle.manifest.input.preprocessing
        pixels = prepare_query(image, mode) if box is None else prepare_boxes(image, [box], mode)[0]
        classes = self.generations.current()
        against = None if against is None else find_species(classes.species, against).label
        scores = self.matcher.classify(pixels[None], classes.operands, len(classes.labels))
        (prediction,) = predictions(classes.labels, scores, len(classes.labels), classes.calibration)
        others = [m for m in prediction.ranking[1:] if against in (None, prediction.label, m.label)]
        matches = (prediction.ranking[0], *others[:1])
        levels = explain_levels(self.matcher, pixels, [classes.species[m.label] for m in matches])
        return Explanation(replace(prediction, ranking=prediction.ranking[:5]), matches, pixels, levels)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it by its digest; as `Gallery.forget`."""
        self.generations.forget(label, photo)

    def refresh(self) -> None:
        """Wait until calls of any thread see the gallery as it is now; solves what is new in it.

        After a change of many species at once, such as a merge: a camera's thread, which made no change,
        goes on with the species of before meanwhile.

        Raises:
            EnrollmentError: A species that cannot be solved.
        """
        self.generations.refresh()

    @overload
    def classify_async(self, image: ImageSource, boxes: None = None, top: int = 5) -> Future[Prediction]: ...

    @overload
    def classify_async(self, image: ImageSource, boxes: Boxes, top: int = 5) -> Future[list[Prediction]]: ...

    def classify_async(self, image: ImageSource, boxes: Boxes | None = None, top: int = 5) -> Future[Any]:
        """Name the species on a frame of a live source; returns at once.

        One frame is in work and two wait at most: a further one takes the place of the oldest.

        Args:
            image: As `classify` takes it; an array is copied.
            boxes: As `classify` takes them.
            top: Species in the ranking at most.

        Returns:
            A future of what `classify` returns or raises; it raises `FrameDroppedError` where newer frames
            have overtaken this one. `await asyncio.wrap_future(...)` in a coroutine.
        """
        return self._live.submit(image, boxes, top)

    def keep_operators(self, gallery: str | os.PathLike[str]) -> None:
        """Take the species' operators from `GALLERY.operators`, and keep there what takes long to solve.

        `hmdrn.load` and `save_gallery` do so; see `Matcher.keep_operators`.

        Args:
            gallery: The gallery's file.
        """
        path = user_path(gallery, GalleryError).resolve()
        self.matcher.keep_operators(operators_path(path), self.bundle)

    def save_gallery(self, path: str | os.PathLike[str], settle: Callable[[], object] | None = None) -> None:
        """Write the gallery to a file, and take in what other processes have saved there in the meantime.

        See `gallery_file.sync_gallery`.
        """
        sync_gallery(self.gallery, path, settle)
        self.keep_operators(path)

    def _classify_pixels(self, pixels: npt.NDArray[np.uint8], top: int) -> list[Prediction]:
        if top < 1:
            raise HmdrnError(f"top is {top}: ask for at least 1 species")
        classes = self.generations.current()
        answers: list[Prediction] = []
        for start in range(0, len(pixels), BATCH):
            scores = self.matcher.classify(pixels[start : start + BATCH], classes.operands, top)
            answers += predictions(classes.labels, scores, top, classes.calibration)
        return answers


def _sources(photos: PhotoSource | Iterable[PhotoSource]) -> list[PhotoSource]:
    """One photo, or several, as a list."""
    if isinstance(photos, PreparedPhoto):
        return [photos]
    if isinstance(photos, np.ndarray):
        return list(photos) if photos.ndim == 4 else [photos]
    if isinstance(photos, str | os.PathLike | bytes | PIL.Image.Image):
        return [photos]
    if isinstance(photos, bytearray | memoryview):
        return [bytes(photos)]
    if not isinstance(photos, Iterable):
        raise ImageError(f"cannot read photos from {type(photos).__name__}: pass one photo or a list of them")
    return [*photos]
