"""Taking a gallery elsewhere: to another precision of its network, or to another network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.history import change_now
from hmdrn_runtime.gallery.species import Species, with_photos
from hmdrn_runtime.images.preprocessing import INPUT_SIZE
from hmdrn_runtime.open_set.threshold import rate_of
from hmdrn_runtime.recognizer import Recognizer


@dataclass(frozen=True)
class Move:
    """A gallery whose photos were, in part, enrolled with another variant of the graphs than runs now.

    Attributes:
        variant: The variant that runs.
        photos: Photos of other variants, by variant.
        costs: Of each variant concerned that is not FP32, what its bundle's verification says of it:
            `distance_error` (relative, to the FP32 network) and `top1_agreement` (percent); None where the
            bundle has no such figures.
        far: The false-accept rate of the gallery's calibration, which is kept; None without one.
    """

    variant: str
    photos: Mapping[str, int]
    costs: Mapping[str, Mapping[str, float] | None]
    far: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the entries are the attributes."""
        costs = {name: None if cost is None else dict(cost) for name, cost in self.costs.items()}
        return {"variant": self.variant, "photos": dict(self.photos), "costs": costs, "far": self.far}

    def __str__(self) -> str:
        counts = ", ".join(f"{count} with {name!r}" for name, count in self.photos.items())
        told = [_told(name, cost) for name, cost in self.costs.items()]
        if self.far is not None:
            told.append(f"the gallery's calibration, at a false-accept rate of {self.far:g}, is kept")
        return f"photos were enrolled {counts}, and {self.variant!r} runs: {'; '.join(told)}"


def move_of(gallery: Gallery, bundle: Bundle) -> Move | None:
    """What it costs that a gallery was enrolled with other variants; None where it was not."""
    photos: Counter[str] = Counter()
    for species in gallery.species.values():
        photos.update(photo.variant for photo in species.photos.values())
        for part in species.sums:
            photos[part.variant] += len(part.digests)
    del photos[bundle.variant]
    if not photos:
        return None
    names = sorted({name for variant in photos for name in variant.split("+")} | {bundle.variant})
    costs: dict[str, Mapping[str, float] | None] = {}
    for name in names:
        if name == "fp32":
            continue
        report = bundle.manifest.verification.get(name)
        keys = ("distance_error", "top1_agreement")
        known = isinstance(report, Mapping) and all(isinstance(report.get(key), int | float) for key in keys)
        costs[name] = {key: float(report[key]) for key in keys} if known and report else None
    counts, far = MappingProxyType(dict(sorted(photos.items()))), rate_of(gallery.calibration)
    return Move(bundle.variant, counts, MappingProxyType(costs), far)


def reenrolled(gallery: Gallery, recognizer: Recognizer, skip_missing: bool = False) -> tuple[Gallery, int]:
    """A gallery enrolled anew from its thumbnails, under another network.

    Args:
        gallery: The gallery, of any network.
        recognizer: Has the other network. Its own gallery stays as it is.
        skip_missing: Whether photos without a thumbnail are left out, and species with no other photo with
            them.

    Returns:
        The gallery of the other network, with the thumbnails; and how many photos were left out.

    Raises:
        GalleryError: Photos without a thumbnail, unless `skip_missing`; or none with one.
        EnrollmentError: A species that cannot be solved under the other network.
    """
    missing = {
        label: s.shots - sum(p.thumbnail is not None for p in s.photos.values())
        for label, s in gallery.species.items()
    }
    missing = {label: count for label, count in missing.items() if count}
    if missing and not skip_missing:
        more = f" and {len(missing) - 5} more species" if len(missing) > 5 else ""
        raise GalleryError(
            f"{sum(missing.values())} photos of {', '.join(list(missing)[:5])}{more} have no thumbnail, as "
            "they were enrolled without --keep-thumbnails: enroll those photos again, or leave them out "
            "with --skip-missing"
        )
    species: dict[str, Species] = {}
    for label, old in gallery.species.items():
        kept = [p.thumbnail for p in old.photos.values() if p.thumbnail is not None]
        if kept:
            pixels = np.frombuffer(b"".join(kept), np.uint8).reshape(-1, INPUT_SIZE, INPUT_SIZE, 3)
            photos = recognizer.photo_statistics(pixels)
            both = zip(photos, kept, strict=True)
            species[label] = with_photos(None, label, [p.with_thumbnail(t) for p, t in both])
    if not species:
        raise GalleryError("no photo of the gallery has a thumbnail: enroll the photos again")
    recognizer.matcher.class_operands(list(species.values()))  # refuses what cannot be solved
    generation = gallery.generation + 1
    name = recognizer.bundle.manifest.name
    history = (*gallery.history, change_now(generation, f"enrolled anew from thumbnails for {name!r}"))
    network = recognizer.bundle.manifest.network
    return Gallery(network, species, generation, history), sum(missing.values())


def _told(name: str, cost: Mapping[str, float] | None) -> str:
    if cost is None:
        return f"the bundle does not say how far {name!r} is from fp32"
    return (
        f"{name!r} differs from fp32 by {100 * cost['distance_error']:.2g} % in the distances and agrees on "
        f"{cost['top1_agreement']:.4g} % of the answers, by the bundle's verification"
    )
