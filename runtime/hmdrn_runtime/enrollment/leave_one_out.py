"""What photos are worth that teach a species: every one looked at by the others.

*Leave-one-out*: a photo as a query (the masked branch) against the operator of the class's other photos, so
exactly as the device would see it had it not been enrolled (DESIGN section 3). A photo's *fit* is that logit
less the mean of its rivals: the best other species of the gallery, and the best background species.
A photo of another species fits worst of all, and far worse than the class's median photo. Where most photos
are of another species none fits worse than the others: then it is the class that is doubted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.enrollment.report import Confusion, Neighbour, PhotoReport
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.quality import PreparedPhoto, is_near_duplicate, measure_quality
from hmdrn_runtime.matching.base import Matcher
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, cohort

__all__ = ["Confusion", "Examination", "Neighbour", "PhotoReport", "examine", "leave_one_out", "without_each"]

ODD = 2.0
"""How far below the median of the class's other photos the fit of one must lie to be doubted (logits).
Found on training classes: of one photo of another species among five, most are named, of which four in five
rightly; lower values name good photos of hard groups too often."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Examination:
    """What is looked at.

    Attributes:
        matcher: Compares photos with species.
        background: The bundle's, if any.
        label: The species that was enrolled.
        species: The gallery with the new photos.
        statistics: Of the new photos.
        seen: The new photos themselves.
        before: Digests that the species had before.
    """

    matcher: Matcher
    background: Background | None
    label: str
    species: Mapping[str, Species]
    statistics: Sequence[PhotoStatistics]
    seen: Sequence[PreparedPhoto]
    before: frozenset[str] = frozenset()

    @property
    def pixels(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Network inputs by digest: those of this enrollment."""
        return {photo.digest: one.pixels for photo, one in zip(self.statistics, self.seen, strict=True)}


@dataclass(frozen=True)
class _Fits:
    """Of a class's photos by digest: leave-one-out logit, logits of the other species (in the order of
    `labels`), fit, mean logit for each other photo alone; and the photos that every rival explains better
    than their own species does.
    """

    own: Mapping[str, float]
    labels: Sequence[str]
    others: Mapping[str, Float32]
    fit: Mapping[str, float]
    alone: Mapping[str, float]
    beaten: frozenset[str]


def examine(work: Examination) -> tuple[tuple[PhotoReport, ...], Neighbour | None, Confusion | None]:
    """Report on every new photo, on the species that theirs is most easily confused with, and on the one that
    most of its photos show.
    """
    fits = _fits(work)
    named = _named(fits, work.label)
    confusion = _confusion(named, work.label)
    odd = _oddest(fits)
    # One that fits badly itself is no model of its class, however near to its photos.
    middle = float(np.median(list(fits.fit.values()))) if fits.fit else 0.0
    typical = {digest: value for digest, value in fits.alone.items() if fits.fit[digest] >= middle}
    best = max(typical, key=lambda digest: typical[digest]) if len(fits.alone) > 2 else None
    reports: list[PhotoReport] = []
    for photo, one in zip(work.statistics, work.seen, strict=True):
        called = named.get(photo.digest)
        reports.append(
            PhotoReport(
                one.name,
                photo.digest,
                measure_quality(one),
                _repeated(work, len(reports)),
                called,
                fits.fit.get(photo.digest),
                photo.digest == odd,
                photo.digest == best,
                work.label,
                called if confusion is not None and called == confusion.label else None,
            )
        )
    return tuple(reports), _nearest(fits), confusion


def leave_one_out(
    matcher: Matcher, species: Species, pixels: Mapping[str, npt.NDArray[np.uint8]]
) -> dict[str, float]:
    """Logit of every photo of a species against the species without it, by digest.

    One solve call for all photos. Empty for a class of one photo; a photo that cannot be compared is left
    out. See `Matcher.compare` for `pixels`.
    """
    if species.shots < 2:
        return {}
    photos = list(species.photos.values())
    rests = without_each(species)
    logits = np.diagonal(matcher.compare(photos, pixels, rests))
    return {p.digest: float(v) for p, v in zip(photos, logits, strict=True) if np.isfinite(v)}


def without_each(species: Species) -> list[Species]:
    """The species without one photo, for each of its photos in their order."""
    photos = species.photos
    rests = [{key: photo for key, photo in photos.items() if key != left} for left in photos]
    return [Species(species.label, MappingProxyType(rest), species.sums) for rest in rests]


def _fits(work: Examination) -> _Fits:
    species, pixels = work.species[work.label], work.pixels
    own = leave_one_out(work.matcher, species, pixels)
    photos = [species.photos[digest] for digest in own]
    labels = [label for label in work.species if label != work.label] if photos else []
    table = work.matcher.compare(photos, pixels, [work.species[label] for label in labels])
    others = {photo.digest: row for photo, row in zip(photos, table, strict=True)}
    references = np.zeros((len(photos), 0))
    if labels:
        references = np.column_stack([references, table.max(axis=1)])
    if work.background is not None and isinstance(work.matcher, RidgeMatcher) and photos:
        against: Float32 = work.matcher.match(photos, work.background.operators).logits
        references = np.column_stack([references, cohort(against)])
    rival = references.mean(axis=1) if references.size else np.zeros(len(photos))
    fit = {p.digest: own[p.digest] - float(r) for p, r in zip(photos, rival, strict=True)}
    single = [Species(work.label, MappingProxyType({p.digest: p})) for p in photos]
    each = work.matcher.compare(photos, pixels, single)
    alone = {
        p.digest: float(np.delete(each[:, i], i).mean()) for i, p in enumerate(photos) if len(photos) > 1
    }
    # Without a rival to be nearer to, a photo that differs may be the one that shows the other side.
    beaten = frozenset(
        photo.digest
        for photo, row in zip(photos, references, strict=True)
        if row.size and own[photo.digest] < row.min()
    )
    return _Fits(own, labels, others, fit, alone, beaten)


def _named(fits: _Fits, label: str) -> dict[str, str]:
    """What each photo of a class would be called without it, by digest."""
    found = dict.fromkeys(fits.own, label)
    for digest, rivals in fits.others.items():
        if len(rivals) and rivals.max() > fits.own[digest]:
            found[digest] = fits.labels[int(rivals.argmax())]
    return found


def _confusion(named: Mapping[str, str], label: str) -> Confusion | None:
    """The other species that more than half of a class's photos would be called."""
    if len(named) < 3:
        return None  # one photo is compared with a single other one: that says little of a class
    ((first, photos),) = Counter(named.values()).most_common(1)
    return Confusion(first, photos, len(named)) if first != label and 2 * photos > len(named) else None


def _oddest(fits: _Fits) -> str | None:
    """The photo that fits its class far worse than the others, and each of its rivals better."""
    fit = fits.fit
    if len(fit) < 3:
        return None  # of two photos that differ, either may be the wrong one
    digest = min(fit, key=lambda key: fit[key])
    rest = [value for key, value in fit.items() if key != digest]
    return digest if digest in fits.beaten and float(np.median(rest)) - fit[digest] > ODD else None


def _repeated(work: Examination, row: int) -> int | None:
    if work.statistics[row].digest in work.before:
        return 0
    for earlier in range(row):
        if is_near_duplicate(work.seen[earlier].pixels, work.seen[row].pixels):
            return earlier + 1
    return None


def _nearest(fits: _Fits) -> Neighbour | None:
    if not fits.labels or not fits.own:
        return None
    own = np.array([fits.own[digest] for digest in fits.others])
    margins = own[:, None] - np.stack(list(fits.others.values()))
    nearest = int(margins.mean(axis=0).argmin())
    found = margins[:, nearest]
    return Neighbour(fits.labels[nearest], float((found > 0).mean()), float(found.mean()))
