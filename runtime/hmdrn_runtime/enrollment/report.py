"""What an examination of enrolled photos found: of a photo, and of the species."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hmdrn_runtime.images.quality import Quality


@dataclass(frozen=True)
class PhotoReport:
    """What one photo of an enrollment is worth.

    Attributes:
        name: What to call it.
        digest: SHA-256 of its network input.
        quality: Sharpness, exposure and size.
        duplicate_of: Number of the photo of this enrollment, from 1, that it repeats; None if it repeats
            none, 0 if it is one that the species had before.
        recognised_as: What the gallery would call it without it (leave-one-out); None where the species has
            no other photo, or the head keeps too little of a photo.
        fit: Its leave-one-out logit less its rivals', None as `recognised_as`.
        odd: Whether it fits far worse than the species' other photos.
        most_useful: Whether it, alone, explains the species' other photos best.
        label: Its species.
        nearer_to: The other species that it and most photos of its own are nearer to; else None.
    """

    name: str
    digest: str
    quality: Quality
    duplicate_of: int | None = None
    recognised_as: str | None = None
    fit: float | None = None
    odd: bool = False
    most_useful: bool = False
    label: str = ""
    nearer_to: str | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the photo had better be taken again or left out; empty for a good one."""
        found = list(self.quality.doubts)
        if self.duplicate_of is not None:
            found.append(
                f"duplicate of photo {self.duplicate_of}" if self.duplicate_of else "enrolled before"
            )
        if self.odd:
            other = self.recognised_as not in (None, self.label)
            found.append(f"looks like {self.recognised_as} instead" if other else "unlike the others")
        return tuple(found)

    @property
    def verdict(self) -> str:
        """The doubts in one line; else "nearer to" a species, "most useful photo" or "good"."""
        if self.doubts:
            return ", ".join(self.doubts)
        if self.nearer_to is not None:
            return f"nearer to {self.nearer_to}"
        return "most useful photo" if self.most_useful else "good"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "name": self.name,
            "digest": self.digest,
            "verdict": self.verdict,
            "doubts": list(self.doubts),
            "duplicate_of": self.duplicate_of,
            "recognised_as": self.recognised_as,
            "fit": self.fit,
            "nearer_to": self.nearer_to,
            "most_useful": self.most_useful,
            "sharpness": self.quality.sharpness,
            "dark": self.quality.dark,
            "bright": self.quality.bright,
            "side": self.quality.side,
        }


@dataclass(frozen=True)
class Neighbour:
    """The species that another is most easily confused with.

    Attributes:
        label: Its name.
        separability: Share of the species' photos that are nearer to their own than to it, each left out of
            its own, 0-1.
        margin: By how much on average, in logits; negative where they are nearer to the neighbour.
    """

    label: str
    separability: float
    margin: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {"label": self.label, "separability": self.separability, "margin": self.margin}


@dataclass(frozen=True)
class Confusion:
    """A species most of whose photos are nearer to one and the same other species.

    Attributes:
        label: The other species.
        photos: Photos that are nearer to it than to the others of their own, each left out of its own.
        of: Photos that could be compared so; at least three.
    """

    label: str
    photos: int
    of: int


@dataclass(frozen=True)
class EnrollmentReport:
    """What an enrollment did.

    Attributes:
        label: The species.
        added: Digests of the photos that were new to it.
        duplicates: Digests of photos that it had already, or that were given twice.
        shots: Photos that it has now.
        also_in: Other species that hold one of these photos: one of the labels is wrong.
        similar: Other species whose labels differ from this one in case or blanks alone.
        photos: What each photo is worth, in the order given.
        nearest: The species of the gallery that this one is most easily confused with; None where the
            gallery has no other, or this one has a single photo.
        confusion: The species of the gallery that most photos of this one are nearer to; None where there
            is none, or this one has fewer than three photos.
    """

    label: str
    added: tuple[str, ...]
    duplicates: tuple[str, ...]
    shots: int
    also_in: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    photos: tuple[PhotoReport, ...] = ()
    nearest: Neighbour | None = None
    confusion: Confusion | None = None

    @property
    def doubt(self) -> str | None:
        """What is wrong with the species as a whole, in a sentence; None if nothing is."""
        found = self.confusion
        if found is None:
            return None
        return (
            f"{found.photos} of {found.of} photos of {self.label!r} are nearer to {found.label!r} than to "
            "each other: are they in the wrong folder, or the two one species? If neither, enroll more "
            "photos of both"
        )

    @property
    def doubtful(self) -> tuple[PhotoReport, ...]:
        """The photos that had better be taken again."""
        return tuple(photo for photo in self.photos if photo.doubts)
