"""Evidence for the species of enrolled photos, the one scale of all that an enrollment reports.

*Evidence*: a photo's logit for its own species, made of the species' photos that are not of its group
(`leave_one_out`), less its logit for the best other species of the gallery. It is the logarithm of the odds
that the label is right: below 0 the gallery would name the other species. With the default model it is
cautious: counted with planted wrong photos, labels are right somewhat more often than negative evidence says,
and far more often than positive evidence does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.enrollment.leave_one_out import leave_one_out
from hmdrn_runtime.enrollment.photo_groups import group_photos, measure_likeness
from hmdrn_runtime.enrollment.report import Confusion, Neighbor, PhotoReport
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.images.quality import PreparedPhoto, measure_quality
from hmdrn_runtime.matching.base import Matcher

PROBABLY_WRONG = -4.5
"""Evidence below which a label is probably wrong.

On galleries of 5 and 8 species with 5 photos each, under 1 % of the right photos of every val group are
below, and over half of planted wrong ones (`python -m benchmarks.enrollment_evidence`)."""

MIN_GROUPS = 4
"""Groups of photos from which a label is called wrong: fewer hardly represent a species."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpeciesEvidence:
    """Comparison of N photos of a species with it and with the C other species of the gallery.

    Attributes:
        label: The species.
        digests: The photos that could be compared: none if all are of one group.
        labels: The other species.
        own: Logits for the species without each photo's group, (N,).
        rivals: Logits for the other species, (N, C).
    """

    label: str
    digests: Sequence[str]
    labels: Sequence[str]
    own: Floats
    rivals: Floats

    @property
    def values(self) -> Floats:
        """The evidence for each photo's label in logits, (N,)."""
        return np.asarray(self.own - self.rivals.max(axis=1, initial=-np.inf))

    @property
    def answers(self) -> list[str]:
        """The gallery's answer for each photo: the species, or the best other one for negative evidence."""
        best = self.rivals.argmax(axis=1) if self.digests else ()
        return [
            self.labels[other] if value < 0 else self.label
            for other, value in zip(best, self.values, strict=True)
        ]


def compare_species(
    matcher: Matcher,
    gallery: Mapping[str, Species],
    label: str,
    pixels: Mapping[str, npt.NDArray[np.uint8]],
) -> SpeciesEvidence:
    """Compare the photos of a species with all species; see `Matcher.compare` for `pixels`."""
    species = gallery[label]
    own = leave_one_out(matcher, species, pixels) if len(gallery) > 1 else {}
    photos = [species.photos[digest] for digest in own]
    labels = [other for other in gallery if other != label]
    rivals = matcher.compare(photos, pixels, [gallery[other] for other in labels])
    return SpeciesEvidence(
        label, tuple(own), labels, np.array(list(own.values()), np.float64), rivals.astype(np.float64)
    )


@dataclass(frozen=True)
class EnrollmentCheck:
    """Input of `check_enrollment`.

    Attributes:
        matcher: Compares photos with species.
        label: The enrolled species.
        species: The gallery with the new photos.
        statistics: Statistics of the new photos.
        photos: The new photos themselves, in the same order.
        previous: Digests of the photos that the species had before.
    """

    matcher: Matcher
    label: str
    species: Mapping[str, Species]
    statistics: Sequence[PhotoStatistics]
    photos: Sequence[PreparedPhoto]
    previous: frozenset[str] = frozenset()


def check_enrollment(
    check: EnrollmentCheck,
) -> tuple[tuple[PhotoReport, ...], Neighbor | None, Confusion | None]:
    """Return the reports of the new photos, the species nearest to theirs, and the one most of them show."""
    pixels = {s.digest: photo.pixels for s, photo in zip(check.statistics, check.photos, strict=True)}
    evidence = compare_species(check.matcher, check.species, check.label, pixels)
    values = dict(zip(evidence.digests, evidence.values.tolist(), strict=True))
    answers = dict(zip(evidence.digests, evidence.answers, strict=True))
    confusion = _find_confusion(answers, check.label)
    members = list(check.species[check.label].photos.values())
    groups = group_photos(check.matcher.network, members)
    certain = len(set(groups)) >= MIN_GROUPS
    useful = _find_most_useful(check.matcher, members, groups, values)
    group_of = {photo.digest: group for photo, group in zip(members, groups, strict=True)}
    reports: list[PhotoReport] = []
    for row, (statistics, photo) in enumerate(zip(check.statistics, check.photos, strict=True)):
        digest = statistics.digest
        answer = answers.get(digest)
        reports.append(
            PhotoReport(
                name=photo.name,
                digest=digest,
                quality=measure_quality(photo),
                duplicate_of=_find_copy(check, row, group_of),
                enrolled=digest in check.previous,
                recognized_as=answer,
                fit=values.get(digest),
                outlier=certain and values.get(digest, 0.0) < PROBABLY_WRONG,
                most_useful=digest == useful,
                label=check.label,
                nearer_to=answer if confusion is not None and answer == confusion.label else None,
            )
        )
    return tuple(reports), _find_nearest(evidence), confusion


def _find_most_useful(
    matcher: Matcher, photos: Sequence[PhotoStatistics], groups: Sequence[int], values: Mapping[str, float]
) -> str | None:
    """Return the photo that is most like the others, of the half with more evidence, if not negative."""
    if len(set(groups)) < 3:
        return None
    likeness = measure_likeness(matcher.network, photos)
    median = max(0.0, float(np.median(list(values.values())))) if values else 0.0
    means = {
        photo.digest: float(row.mean())
        for photo, row in zip(photos, likeness, strict=True)
        if values.get(photo.digest, 0.0) >= median
    }
    return max(means, key=lambda digest: means[digest]) if means else None


def _find_confusion(answers: Mapping[str, str], label: str) -> Confusion | None:
    """Return the other species that is the answer for more than half of a class's photos."""
    if len(answers) < 3:
        return None  # each photo is compared with a single other one, which does not represent a class
    ((first, photos),) = Counter(answers.values()).most_common(1)
    return Confusion(first, photos, len(answers)) if first != label and 2 * photos > len(answers) else None


def _find_copy(check: EnrollmentCheck, row: int, group_of: Mapping[str, int]) -> int | None:
    """Return the number of the first photo of a photo's group, 0 if it was enrolled before; None if alone."""
    digest = check.statistics[row].digest
    group = group_of.get(digest)  # None if it is within a sum
    if digest in check.previous or any(group_of[p] == group for p in check.previous if p in group_of):
        return 0
    first = next(i for i, s in enumerate(check.statistics) if group_of.get(s.digest) == group)
    return first + 1 if first < row else None


def _find_nearest(evidence: SpeciesEvidence) -> Neighbor | None:
    if not evidence.digests:
        return None
    margins = (evidence.own[:, None] - evidence.rivals).mean(axis=0)
    nearest = int(margins.argmin())
    share = float((evidence.values >= 0).mean())
    return Neighbor(evidence.labels[nearest], share, float(margins[nearest]))
