"""Reports on an enrollment, its photos and its species."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.images.quality import Quality


@dataclass(frozen=True)
class PhotoReport:
    """Report on one photo of an enrollment.

    Attributes:
        name: Its name in messages.
        digest: SHA-256 of its network input.
        quality: Sharpness, exposure and size.
        duplicate_of: Number of the photo of this enrollment, from 1, that it counts as one with; 0 if it is
            one that the species had before, None if there is none.
        recognized_as: The gallery's answer without this photo and its copies; None if the species has no
            other photo, the gallery no other species, or the stored statistics do not suffice.
        fit: The evidence for its species, in logits (see `evidence`): negative if and only if another species
            is the answer; None as `recognized_as`.
        outlier: True if its label is probably wrong.
        most_useful: True if it is most like the species' other photos.
        label: Its species.
        nearer_to: The other species that is the answer for it and most photos of its own; else None.
        enrolled: True if the species had this very photo before.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> [photo] = birds.enroll("Laysan Albatross", "d.jpg").photos
        >>> photo.name
        'd.jpg'
    """

    name: str
    digest: str
    quality: Quality
    duplicate_of: int | None = None
    recognized_as: str | None = None
    fit: float | None = None
    outlier: bool = False
    most_useful: bool = False
    label: str = ""
    nearer_to: str | None = None
    enrolled: bool = False

    @property
    def issues(self) -> tuple[str, ...]:
        """Reasons to take the photo again or leave it out; empty for a good one."""
        issues = list(self.quality.issues)
        if self.enrolled:
            issues.append("enrolled before")
        elif self.duplicate_of is not None:
            first = f"photo {self.duplicate_of}" if self.duplicate_of else "a photo enrolled before"
            issues.append(f"like {first}, counts as one with it")
        if self.outlier:
            issues.append(f"probably wrong: looks like {self.recognized_as}")
        return tuple(issues)

    @property
    def verdict(self) -> str:
        """The issues in one line; else "please check", "most useful photo" or "good"."""
        if self.issues:
            return ", ".join(self.issues)
        if self.fit is not None and self.fit < 0:
            return f"please check: looks like {self.recognized_as}"
        return "most useful photo" if self.most_useful else "good"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "name": self.name,
            "digest": self.digest,
            "verdict": self.verdict,
            "doubts": list(self.issues),
            "duplicate_of": self.duplicate_of,
            "recognised_as": self.recognized_as,
            "fit": self.fit,
            "nearer_to": self.nearer_to,
            "most_useful": self.most_useful,
            "probably_wrong": self.outlier,
            "sharpness": self.quality.sharpness,
            "dark": self.quality.dark,
            "bright": self.quality.bright,
            "side": self.quality.shorter_side,
        }


@dataclass(frozen=True)
class Neighbor:
    """The species that another is most easily confused with.

    Attributes:
        label: Its name.
        separability: Share of the other's photos for which their own species is the gallery's answer, 0-1.
        margin: Mean difference in logits; negative if they are nearer to this one.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> neighbor = birds.enroll("Laysan Albatross", "d.jpg").nearest
        >>> neighbor.label in birds.gallery.species
        True
    """

    label: str
    separability: float
    margin: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class Confusion:
    """A second species that most photos of a species are nearer to than to their own.

    Attributes:
        label: The second species.
        photos: Photos that are nearer to it than to their own species (leave-one-out).
        compared: Photos that could be compared; at least three.

    Examples:
        >>> hmdrn.Confusion("Laysan Albatross", photos=2, compared=3).label
        'Laysan Albatross'
    """

    label: str
    photos: int
    compared: int


@dataclass(frozen=True)
class EnrollmentReport:
    """Report on an enrollment.

    Attributes:
        label: The species.
        added: Digests of the photos that were new to it.
        duplicates: Digests of photos that it had already, or that were given twice.
        shots: Photos that it has now.
        also_in: Other species that hold one of these photos: one of the labels is wrong.
        similar: Other species whose labels look like this one.
        photos: Reports on the photos, in the order given.
        nearest: The species of the gallery that this one is most easily confused with; None if the gallery
            has no other, or this one has a single photo.
        confusion: The species of the gallery that most photos of this one are nearer to; None if there is
            none, or this one has fewer than three photos.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> report = birds.enroll("Laysan Albatross", "d.jpg")
        >>> report.shots, len(report.photos)
        (4, 1)
    """

    label: str
    added: tuple[str, ...]
    duplicates: tuple[str, ...]
    shots: int
    also_in: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    photos: tuple[PhotoReport, ...] = ()
    nearest: Neighbor | None = None
    confusion: Confusion | None = None

    @property
    def issue(self) -> str | None:
        """The issue with the species as a whole, in a sentence; None if there is none."""
        confusion = self.confusion
        if confusion is None:
            return None
        return (
            f"please check: {confusion.photos} of {confusion.compared} photos of {self.label!r} look like "
            f"{confusion.label!r}: use one name if the two are one species, else enroll more photos of both"
        )

    @property
    def flagged(self) -> tuple[PhotoReport, ...]:
        """The photos with issues, which should be taken again."""
        return tuple(photo for photo in self.photos if photo.issues)

    @property
    def unsure(self) -> tuple[PhotoReport, ...]:
        """The photos to check, the least sure first."""
        checks = [photo for photo in self.photos if not photo.issues and (photo.fit or 0) < 0]
        return tuple(sorted(checks, key=lambda photo: photo.fit or 0.0))
