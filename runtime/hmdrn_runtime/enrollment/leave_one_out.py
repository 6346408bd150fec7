"""Leave-one-out check of a species' photos, each by the others.

*Leave-one-out*: a photo as a query (the masked branch) against the operator of the class's other photos,
exactly as the device would classify it without having enrolled it. A photo's *fit* is that logit less the
mean of its rivals: the best other species of the gallery, and the best background species. A photo of
another species fits worst of all, and far worse than the class's median photo. If most photos are of another
species, none is an outlier: then the class as a whole is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.enrollment.report import Confusion, Neighbor, PhotoReport
from hmdrn_runtime.gallery.photo_statistics import Float32, PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.quality import PreparedPhoto, is_near_duplicate, measure_quality
from hmdrn_runtime.matching.base import Matcher
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.open_set.background import Background, cohort_mean

OUTLIER_MARGIN = 2.0
"""Logits by which an outlier's fit is below the median of the class's other photos.

Found on training classes: most single photos of another species among five are reported, and four in five
reports are right; lower values report good photos of hard groups too often."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EnrollmentCheck:
    """Input of `check_enrollment`.

    Attributes:
        matcher: Compares photos with species.
        background: The bundle's, if any.
        label: The enrolled species.
        species: The gallery with the new photos.
        statistics: Statistics of the new photos.
        photos: The new photos themselves, in the same order.
        previous: Digests of the photos that the species had before.
    """

    matcher: Matcher
    background: Background | None
    label: str
    species: Mapping[str, Species]
    statistics: Sequence[PhotoStatistics]
    photos: Sequence[PreparedPhoto]
    previous: frozenset[str] = frozenset()

    @property
    def pixels(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Network inputs of this enrollment, by digest."""
        return {s.digest: photo.pixels for s, photo in zip(self.statistics, self.photos, strict=True)}


@dataclass(frozen=True)
class _Fits:
    """Comparison of a class's photos, by digest.

    Attributes:
        own: Leave-one-out logits.
        labels: The other species.
        others: Logits for the other species, float32 (len(labels),).
        fit: Leave-one-out logits less the rivals' mean.
        alone: Mean logit for each other photo of the class alone.
        beaten: Photos that every rival explains better than their own species does.
    """

    own: Mapping[str, float]
    labels: Sequence[str]
    others: Mapping[str, Float32]
    fit: Mapping[str, float]
    alone: Mapping[str, float]
    beaten: frozenset[str]


def check_enrollment(
    check: EnrollmentCheck,
) -> tuple[tuple[PhotoReport, ...], Neighbor | None, Confusion | None]:
    """Return the reports of the new photos, the species nearest to theirs, and the one most of them show."""
    fits = _compare(check)
    answers = _classify(fits, check.label)
    confusion = _find_confusion(answers, check.label)
    outlier = _find_outlier(fits)
    # A photo that fits badly itself does not represent its class, however near to the other photos.
    median = float(np.median(list(fits.fit.values()))) if fits.fit else 0.0
    typical = {digest: value for digest, value in fits.alone.items() if fits.fit[digest] >= median}
    best = max(typical, key=lambda digest: typical[digest]) if len(fits.alone) > 2 else None
    reports: list[PhotoReport] = []
    for row, (statistics, photo) in enumerate(zip(check.statistics, check.photos, strict=True)):
        digest = statistics.digest
        answer = answers.get(digest)
        reports.append(
            PhotoReport(
                name=photo.name,
                digest=digest,
                quality=measure_quality(photo),
                duplicate_of=_find_duplicate(check, row),
                recognized_as=answer,
                fit=fits.fit.get(digest),
                outlier=digest == outlier,
                most_useful=digest == best,
                label=check.label,
                nearer_to=answer if confusion is not None and answer == confusion.label else None,
            )
        )
    return tuple(reports), _find_nearest(fits), confusion


def leave_one_out(
    matcher: Matcher, species: Species, pixels: Mapping[str, npt.NDArray[np.uint8]]
) -> dict[str, float]:
    """Return the logit of every photo of a species for the species without it, by digest.

    One solve call serves all photos. Empty for a class of one photo; photos that cannot be compared are
    omitted. See `Matcher.compare` for `pixels`.
    """
    if species.shots < 2:
        return {}
    photos = list(species.photos.values())
    logits = np.diagonal(matcher.compare(photos, pixels, leave_out_each(species)))
    return {p.digest: float(v) for p, v in zip(photos, logits, strict=True) if np.isfinite(v)}


def leave_out_each(species: Species) -> list[Species]:
    """Return the species without one photo, for each of its photos in their order."""
    photos = species.photos
    others = [{key: photo for key, photo in photos.items() if key != omitted} for omitted in photos]
    return [Species(species.label, MappingProxyType(rest), species.sums) for rest in others]


def _compare(check: EnrollmentCheck) -> _Fits:
    species, pixels, matcher = check.species[check.label], check.pixels, check.matcher
    own = leave_one_out(matcher, species, pixels)
    photos = [species.photos[digest] for digest in own]
    labels = [label for label in check.species if label != check.label] if photos else []
    table = matcher.compare(photos, pixels, [check.species[label] for label in labels])
    others = {photo.digest: row for photo, row in zip(photos, table, strict=True)}
    references = np.zeros((len(photos), 0))
    if labels:
        references = np.column_stack([references, table.max(axis=1)])
    if check.background is not None and isinstance(matcher, RidgeMatcher) and photos:
        background = matcher.match(photos, check.background.operators).logits
        references = np.column_stack([references, cohort_mean(background)])
    rival = references.mean(axis=1) if references.size else np.zeros(len(photos))
    fit = {p.digest: own[p.digest] - float(r) for p, r in zip(photos, rival, strict=True)}
    single = [Species(check.label, MappingProxyType({p.digest: p})) for p in photos]
    each = matcher.compare(photos, pixels, single)
    alone = {
        p.digest: float(np.delete(each[:, i], i).mean()) for i, p in enumerate(photos) if len(photos) > 1
    }
    # Without a nearer rival, a photo that differs may just show the species' other side.
    beaten = frozenset(
        photo.digest
        for photo, row in zip(photos, references, strict=True)
        if row.size and own[photo.digest] < row.min()
    )
    return _Fits(own, labels, others, fit, alone, beaten)


def _classify(fits: _Fits, label: str) -> dict[str, str]:
    """Return the gallery's answer for each photo of a class without that photo, by digest."""
    answers = dict.fromkeys(fits.own, label)
    for digest, rivals in fits.others.items():
        if len(rivals) and rivals.max() > fits.own[digest]:
            answers[digest] = fits.labels[int(rivals.argmax())]
    return answers


def _find_confusion(answers: Mapping[str, str], label: str) -> Confusion | None:
    """Return the other species that is the answer for more than half of a class's photos."""
    if len(answers) < 3:
        return None  # each photo is compared with a single other one, which does not represent a class
    ((first, photos),) = Counter(answers.values()).most_common(1)
    return Confusion(first, photos, len(answers)) if first != label and 2 * photos > len(answers) else None


def _find_outlier(fits: _Fits) -> str | None:
    """Return the photo that fits its class far worse than the others, and all its rivals better."""
    fit = fits.fit
    if len(fit) < 3:
        return None  # of two photos that differ, either may be the wrong one
    digest = min(fit, key=lambda key: fit[key])
    others = [value for key, value in fit.items() if key != digest]
    is_outlier = digest in fits.beaten and float(np.median(others)) - fit[digest] > OUTLIER_MARGIN
    return digest if is_outlier else None


def _find_duplicate(check: EnrollmentCheck, row: int) -> int | None:
    if check.statistics[row].digest in check.previous:
        return 0
    pixels = check.photos[row].pixels
    duplicates = (i for i in range(row) if is_near_duplicate(check.photos[i].pixels, pixels))
    return next((i + 1 for i in duplicates), None)


def _find_nearest(fits: _Fits) -> Neighbor | None:
    if not fits.labels or not fits.own:
        return None
    own = np.array([fits.own[digest] for digest in fits.others])
    margins = own[:, None] - np.stack(list(fits.others.values()))
    nearest = int(margins.mean(axis=0).argmin())
    margin = margins[:, nearest]
    return Neighbor(fits.labels[nearest], float((margin > 0).mean()), float(margin.mean()))
