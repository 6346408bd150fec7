"""Migration of a gallery to another precision of its network, or to another network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.history import make_change
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species, extend_species
from hmdrn_runtime.open_set.threshold import false_accept_rate
from hmdrn_runtime.progress import ProgressCallback, ignore_progress
from hmdrn_runtime.recognizer import Recognizer


@dataclass(frozen=True)
class VariantMismatch:
    """A gallery with photos enrolled with another variant of the graphs than the running one.

    Attributes:
        variant: The running variant.
        photos: Number of photos of other variants, by variant.
        costs: For each variant concerned except FP32, the figures of the bundle's verification:
            `distance_error` (relative, to the FP32 network) and `top1_agreement` (percent); None if the
            bundle has none.
        far: The false-accept rate of the gallery's calibration, which stays; None without one.
    """

    variant: str
    photos: Mapping[str, int]
    costs: Mapping[str, Mapping[str, float] | None]
    far: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; the entries are the attributes."""
        costs = {name: None if cost is None else dict(cost) for name, cost in self.costs.items()}
        return {"variant": self.variant, "photos": dict(self.photos), "costs": costs, "far": self.far}

    def __str__(self) -> str:
        counts = ", ".join(f"{count} with {name!r}" for name, count in self.photos.items())
        parts = [_describe_cost(name, cost) for name, cost in self.costs.items()]
        if self.far is not None:
            parts.append(f"the gallery's calibration, at a false-accept rate of {self.far:g}, is kept")
        return f"photos were enrolled {counts}, and {self.variant!r} runs: {'; '.join(parts)}"


def find_variant_mismatch(gallery: Gallery, bundle: Bundle) -> VariantMismatch | None:
    """Find photos of a gallery that were enrolled with other variants; None if there are none."""
    photos: Counter[str] = Counter()
    for species in gallery.species.values():
        photos.update(photo.variant for photo in species.photos.values())
        for part in species.sums:
            photos[part.variant] += len(part.digests)
    del photos[bundle.variant]
    if not photos:
        return None
    names = {name for variant in photos for name in variant.split("+")} | {bundle.variant}
    costs: dict[str, Mapping[str, float] | None] = {}
    keys = ("distance_error", "top1_agreement")
    for name in sorted(names - {"fp32"}):
        report = bundle.manifest.verification.get(name)
        known = isinstance(report, Mapping) and all(isinstance(report.get(key), int | float) for key in keys)
        costs[name] = {key: float(report[key]) for key in keys} if known and report else None
    counts, far = MappingProxyType(dict(sorted(photos.items()))), false_accept_rate(gallery.calibration)
    return VariantMismatch(bundle.variant, counts, MappingProxyType(costs), far)


def reenroll(
    gallery: Gallery,
    recognizer: Recognizer,
    skip_missing: bool = False,
    report: ProgressCallback = ignore_progress,
) -> tuple[Gallery, int]:
    """Enroll a gallery's thumbnails under another network.

    Args:
        gallery: The gallery, of any network.
        recognizer: Has the other network. Its own gallery stays as it is.
        skip_missing: Leave out photos without a thumbnail, and species that have no other photos.
        report: Receives the progress, species by species.

    Returns:
        The gallery of the other network, with the thumbnails; and the number of photos left out.

    Raises:
        GalleryError: A photo has no thumbnail and `skip_missing` is false, or no photo has one.
        EnrollmentError: A species that cannot be solved under the other network.
    """
    check_kind(gallery, Gallery, "gallery", "pass what hmdrn.load_gallery returns", GalleryError)
    check_kind(recognizer, Recognizer, "recognizer", "pass what hmdrn.load returns", GalleryError)
    missing = {
        label: count
        for label, s in gallery.species.items()
        if (count := s.shots - sum(p.thumbnail is not None for p in s.photos.values()))
    }
    if missing and not skip_missing:
        more = f" and {len(missing) - 5} more species" if len(missing) > 5 else ""
        raise GalleryError(
            f"{sum(missing.values())} photos of {', '.join(list(missing)[:5])}{more} have no thumbnail, as "
            "they were enrolled without --keep-thumbnails: enroll those photos again, or leave them out "
            "with --skip-missing"
        )
    species: dict[str, Species] = {}
    for number, (label, old) in enumerate(gallery.species.items()):
        report("enrolling anew", number, len(gallery))
        pixels = {p.digest: p.pixels for p in old.photos.values()}
        thumbnails = {digest: array for digest, array in pixels.items() if array is not None}
        if thumbnails:
            inputs = [_fit(thumbnail, recognizer.preprocessing.side) for thumbnail in thumbnails.values()]
            photos = recognizer.matcher.compute_statistics(np.stack(inputs))
            pairs = zip(photos, inputs, thumbnails, strict=True)
            carried = [_carry(photo, old.photos[d], fitted is thumbnails[d]) for photo, fitted, d in pairs]
            species[label] = extend_species(None, label, carried)
    if not species:
        raise GalleryError("no photo of the gallery has a thumbnail: enroll the photos again")
    recognizer.matcher.class_operands(list(species.values()))  # refuses what cannot be solved
    generation = gallery.generation + 1
    name = recognizer.bundle.manifest.name
    history = (*gallery.history, make_change(generation, f"enrolled anew from thumbnails for {name!r}"))
    network = recognizer.bundle.manifest.network
    return Gallery(network, species, generation, history), sum(missing.values())


def _describe_cost(name: str, cost: Mapping[str, float] | None) -> str:
    if cost is None:
        return f"the bundle has no comparison of {name!r} with fp32"
    return (
        f"{name!r} differs from fp32 by {100 * cost['distance_error']:.2g} % in the distances and agrees on "
        f"{cost['top1_agreement']:.4g} % of the answers, by the bundle's verification"
    )


def _carry(photo: PhotoStatistics, old: PhotoStatistics, same_side: bool) -> PhotoStatistics:
    """Return a photo with its former thumbnail and record; of the same side with its digest too."""
    digest = old.digest if same_side else photo.digest
    return replace(photo, digest=digest, thumbnail=old.thumbnail, record=old.record)


def _fit(thumbnail: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Resize a thumbnail to another network's input; a larger one gains no detail."""
    if len(thumbnail) == side:
        return thumbnail
    image = PIL.Image.fromarray(thumbnail)
    return np.asarray(image.resize((side, side), PIL.Image.Resampling.BILINEAR))
