"""Enrollment and classification on a device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, NoReturn, overload

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_kind, refuse_copy
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.report import BackendReport, make_backend_report
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.classification.classify import classify_pixels
from hmdrn_runtime.classification.explanation import Explanation, explain_photo
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.enrollment.correction import PhotoCorrection
from hmdrn_runtime.enrollment.enroll import correct_enrollment, enroll_photos, enroll_stream, review_photos
from hmdrn_runtime.enrollment.frame_selection import PATIENCE, SHOTS, UNFIT
from hmdrn_runtime.enrollment.report import EnrollmentReport
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import sync_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import check_network
from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.images.preprocessing import Box, Boxes, Preprocessing
from hmdrn_runtime.images.quality import PhotoSource, PreparedPhoto, list_photos
from hmdrn_runtime.images.query_preprocessing import prepare_boxes, prepare_query
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.live_worker import LiveWorker
from hmdrn_runtime.matching.attention import AttentionMatcher
from hmdrn_runtime.matching.factory import open_matcher
from hmdrn_runtime.matching.index.operator_cache import operator_cache_path
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.matching.solved_gallery import SolvedGallery
from hmdrn_runtime.open_set.background import Background
from hmdrn_runtime.open_set.threshold import calibration_issue


class Recognizer:
    """Recognizes species from a few photos of each; `hmdrn.load` makes one.

    Adding a species needs no rebuild and no new export. Several threads may classify while another enrolls,
    merges or saves: every call uses one consistent snapshot of the gallery. The thread that has changed the
    gallery sees its change at its next call, which waits for the solve. Other threads do not wait: they use
    the previous snapshot until the new one is solved. `refresh` waits in any thread.

    Args:
        bundle: The model.
        backend: Runs the bundle's graphs.
        gallery: Species enrolled before; empty if None.
        keep_thumbnails: Store the network's input of each photo, so that another model can enroll it again.
        keep_file_names: Store the base name of each photo's file.

    Raises:
        GalleryError: The gallery was enrolled with another network.

    Examples:
        >>> birds = hmdrn.load("default")
        >>> report = birds.enroll("Sooty Albatross", ["a.jpg", "b.jpg"])
        >>> report = birds.enroll("Laysan Albatross", ["c.jpg", "d.jpg"])
        >>> birds.classify("frame.jpg").label
        'Sooty Albatross'
        >>> birds.save_gallery("new.gallery")
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        gallery: Gallery | None = None,
        keep_thumbnails: bool = False,
        keep_file_names: bool = True,
    ) -> None:
        check_kind(bundle, Bundle, "bundle", "pass what hmdrn.open_bundle returns")
        network = bundle.manifest.network
        if gallery is not None:
            check_kind(gallery, Gallery, "gallery", "pass what hmdrn.load_gallery returns")
            check_network(network, gallery.network, "the gallery")
        self.bundle = bundle
        self.backend = backend
        self._gallery = Gallery(network) if gallery is None else gallery
        self.matcher: RidgeMatcher | AttentionMatcher = open_matcher(network, backend, bundle.variant)
        self.matcher.keep_thumbnails = keep_thumbnails
        self.matcher.keep_file_names = keep_file_names
        self.solved_gallery: SolvedGallery = SolvedGallery(self._gallery, self.matcher, bundle)
        self._live = LiveWorker(self.classify)

    def __repr__(self) -> str:
        return f"<Recognizer of bundle {self.bundle.path.name} on {self.backend.name}, {self.gallery!r}>"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "call hmdrn.load in each process, or fork after it; threads can share one")

    @property
    def backend_report(self) -> BackendReport:
        """The backend that runs the graphs, and the reasons against the bundle's other variants."""
        return make_backend_report(self.bundle, self.backend)

    @property
    def preprocessing(self) -> Preprocessing:
        """The way from a photo to the network's input."""
        return self.bundle.manifest.input.to_preprocessing()

    @property
    def background(self) -> Background | None:
        """The bundle's background species, read on first use; None if it has none."""
        return self.solved_gallery.background

    @property
    def calibration_issue(self) -> str | None:
        """The reason that the gallery's calibration is not applied with this bundle; None if it is."""
        stored = self.gallery.calibration
        return None if stored is None else calibration_issue(stored, self.background)

    @property
    def gallery(self) -> Gallery:
        """The species; the next call of a thread sees the changes that it made."""
        self.solved_gallery.check_file()
        return self._gallery

    def enroll(self, label: str, photos: PhotoSource | Iterable[PhotoSource]) -> EnrollmentReport:
        """Add photos to a species, new or known; an error adds none of them.

        Args:
            label: The species' name.
            photos: One or more photos: paths, bytes, PIL images or RGB uint8 arrays (H, W, 3); or an array
                (N, H, W, 3) of several.

        Returns:
            A report on the photos: issues, outliers, and the species most easily confused with this one.

        Raises:
            ImageError: A photo cannot be used; the message names it.
            EnrollmentError: A bad label, no photo, or statistics that cannot be solved.

        Examples:
            >>> birds = hmdrn.load("default")
            >>> birds.enroll("Sooty Albatross", ["a.jpg", "b.jpg"]).shots
            2
        """
        return enroll_photos(self.solved_gallery, label, list_photos(photos), self.preprocessing)

    def review(
        self, report: EnrollmentReport, photos: PhotoSource | Iterable[PhotoSource]
    ) -> EnrollmentReport:
        """Check an enrollment again, now with the species that were enrolled after it.

        Takes the report that `enroll` returned, and its photos.

        Raises:
            GalleryError: The species is not in the gallery any more.
            ImageError: As `enroll`.
        """
        return review_photos(self.solved_gallery, report, list_photos(photos), self.preprocessing)

    def correct(self, photo: PhotoSource, species: str) -> PhotoCorrection:
        """Enroll a photo under its right species, and remove it from any other species that holds it.

        Raises:
            GalleryError: It is part of another species that was compacted.
            ImageError, EnrollmentError: As `enroll`.
        """
        return correct_enrollment(self.solved_gallery, species, photo, self.preprocessing)

    def enroll_stream(
        self,
        label: str,
        frames: Iterable[PhotoSource],
        shots: int = SHOTS,
        patience: int = PATIENCE,
        unfit: int = UNFIT,
    ) -> EnrollmentReport:
        """Add the few most useful frames of a live source to a species.

        See `frame_selection.choose_frames` for the arguments, the selection and its end.

        Returns:
            As `enroll`, of the selected frames; without photos if no frame adds anything to the species.

        Raises:
            EnrollmentError: No frame was sharp and well lit enough, or a number is below 1; as `enroll`.
            ImageError: A frame cannot be used.
        """
        return enroll_stream(self.solved_gallery, label, frames, self.preprocessing, shots, patience, unfit)

    @overload
    def classify(self, image: ImageSource, boxes: None = None, top: int = 5) -> Prediction: ...

    @overload
    def classify(self, image: ImageSource, boxes: Boxes, top: int = 5) -> list[Prediction]: ...

    def classify(
        self, image: ImageSource, boxes: Boxes | None = None, top: int = 5
    ) -> Prediction | list[Prediction]:
        """Recognize the species on a photo.

        Args:
            image: Path, bytes, PIL image or RGB uint8 array (H, W, 3).
            boxes: Regions (x0, y0, x1, y1) in pixels, as a list or an array (N, 4), each classified
                separately. A box that crosses the border is clipped, even if only a small part remains.
            top: Species in the ranking at most.

        Returns:
            A prediction, or with `boxes` one for each of them.

        Raises:
            ImageError: The photo or a box cannot be used.
            GalleryError: Nothing has been enrolled.

        Examples:
            >>> birds = hmdrn.load("default", gallery="site7.gallery")
            >>> birds.classify("a.jpg").label
            'Sooty Albatross'
            >>> len(birds.classify("frame.jpg", boxes=[(10, 10, 120, 120), (60, 60, 200, 200)]))
            2
        """
        if boxes is None:
            return classify_pixels(self.solved_gallery, self._read(image)[None], top)[0]
        parts = prepare_boxes(image, boxes, self.preprocessing)
        return classify_pixels(self.solved_gallery, np.stack(parts), top) if parts else []

    def classify_batch(self, images: PhotoSource | Iterable[PhotoSource], top: int = 5) -> list[Prediction]:
        """Recognize the species on several photos; as `classify` for each, in fewer passes of the network."""
        pixels = [self._read(image) for image in list_photos(images)]
        return classify_pixels(self.solved_gallery, np.stack(pixels), top) if pixels else []

    def explain(self, image: ImageSource, box: Box | None = None, against: str | None = None) -> Explanation:
        """Recognize the species on a photo, and map the differences between the best and another species.

        Args:
            image: As for `classify`.
            box: The region to classify; the whole photo if None.
            against: The species to compare the best one with; the second-best if None, or if it is the
                best itself.

        Returns:
            The prediction, the mask, and the errors of both species by location.

        Raises:
            ImageError, GalleryError: As `classify`; no species `against`.
        """
        prepared = prepare_boxes(image, [box], self.preprocessing) if box is not None else [self._read(image)]
        return explain_photo(self.matcher, self.solved_gallery.current(), prepared[0], against)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it by its file's name or digest; as `Gallery.forget`."""
        self.solved_gallery.forget(label, photo)

    def refresh(self) -> None:
        """Solve the gallery's present state now, e.g. after a merge, for the calls of all threads."""
        self.solved_gallery.refresh()

    def follow_gallery(
        self, path: str | os.PathLike[str], report: Callable[[str], object] = warnings.warn
    ) -> None:
        """Take over what other processes write to the gallery's file; unsaved changes of this one stay.

        Calls look at it every 0.1 s at most. A file that cannot be used changes nothing: `report` is called.
        """
        self.solved_gallery.follow(path, report)

    @overload
    def classify_async(self, image: ImageSource, boxes: None = None, top: int = 5) -> Future[Prediction]: ...

    @overload
    def classify_async(self, image: ImageSource, boxes: Boxes, top: int = 5) -> Future[list[Prediction]]: ...

    def classify_async(self, image: ImageSource, boxes: Boxes | None = None, top: int = 5) -> Future[Any]:
        """Recognize the species on a frame of a live source; returns at once.

        One frame is in work and at most two wait: a further one replaces the oldest.

        Args:
            image: As for `classify`; an array is copied.
            boxes: As for `classify`.
            top: Species in the ranking at most.

        Returns:
            A future of the result of `classify`; it raises `FrameDroppedError` if newer frames replaced this
            one. Use `await asyncio.wrap_future(...)` in a coroutine.
        """
        return self._live.submit(image, boxes, top)

    def _read(self, image: PhotoSource) -> npt.NDArray[np.uint8]:
        return image.pixels if isinstance(image, PreparedPhoto) else prepare_query(image, self.preprocessing)

    def attach_operator_cache(self, gallery: str | os.PathLike[str]) -> None:
        """Use the file `GALLERY.operators` to start faster next time; `hmdrn.load` does it."""
        path = operator_cache_path(expand_path(gallery, GalleryError).resolve())
        self.matcher.attach_operator_cache(path, self.bundle)

    def save_gallery(self, path: str | os.PathLike[str], settle: Callable[[], object] | None = None) -> None:
        """Write the gallery, merged with other processes' changes to the file; see `sync_gallery`."""
        sync_gallery(self.gallery, path, settle)
        self.attach_operator_cache(path)
