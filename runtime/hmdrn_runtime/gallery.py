"""The gallery: the enrolled species of a device, as statistics of their photos, never the photos."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmdrn_runtime.errors import EnrollmentError, GalleryError
from hmdrn_runtime.manifest import Network
from hmdrn_runtime.statistics import PhotoStatistics, array_shapes

_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_LABEL = 120
"""Characters of a label at most."""


@dataclass(frozen=True)
class Species:
    """One enrolled class.

    Attributes:
        label: Its name.
        photos: Its photos by digest, at least one.
    """

    label: str
    photos: Mapping[str, PhotoStatistics]

    @property
    def shots(self) -> int:
        """Number of photos."""
        return len(self.photos)

    @property
    def key(self) -> tuple[str, ...]:
        """What the class's operator depends on: the same key, the same operator."""
        return tuple(self.photos[digest].content for digest in sorted(self.photos))


@dataclass(frozen=True)
class MergeReport:
    """What `Gallery.merge` did: labels that were new, and those that gained photos with how many."""

    added: tuple[str, ...]
    extended: Mapping[str, int]


class Gallery:
    """Species by label. Each change swaps the whole state at once: a reader never sees half of one.

    Args:
        network: The network that the statistics are of.
        species: Initial species by label.
        generation: Number of changes made so far.
    """

    def __init__(
        self, network: Network, species: Mapping[str, Species] | None = None, generation: int = 0
    ) -> None:
        self.network = network
        self._lock = threading.Lock()
        self._state: tuple[int, Mapping[str, Species]] = (generation, _ordered(species or {}))

    @property
    def generation(self) -> int:
        """Counts the changes; equal generations of one gallery are equal states."""
        return self._state[0]

    @property
    def species(self) -> Mapping[str, Species]:
        """The species by label, sorted by label; a snapshot that later changes do not touch."""
        return self._state[1]

    def snapshot(self) -> tuple[int, Mapping[str, Species]]:
        """Generation and species of one moment."""
        return self._state

    def __len__(self) -> int:
        return len(self.species)

    def __repr__(self) -> str:
        generation, species = self._state
        shots = sum(s.shots for s in species.values())
        photos = f"{shots} photo{'s' * (shots != 1)}"
        return f"<Gallery of {len(species)} species, {photos}, generation {generation}>"

    def __contains__(self, label: str) -> bool:
        return _normalised(label) in self.species

    def __iter__(self) -> Iterator[str]:
        return iter(self.species)

    def add(self, label: str, photos: Iterable[PhotoStatistics]) -> int:
        """Add photos to a species, which need not exist; one that it has already counts once.

        Returns:
            How many photos were new to it.

        Raises:
            EnrollmentError: A bad label, or no photo at all.
        """
        label = clean_label(label)
        with self._lock:
            old = self.species.get(label)
            changed = with_photos(old, label, photos)
            if changed != old:
                self._swap({**self.species, label: changed})
            return changed.shots - (old.shots if old else 0)

    def forget(self, label: str, photo: str | None = None) -> None:
        """Remove a species, or one photo of it; the last photo takes the species with it.

        Args:
            label: The species.
            photo: Digest of the photo, or a beginning that only one has; all photos if None.

        Raises:
            GalleryError: No such species or photo.
        """
        label = _normalised(label)
        with self._lock:
            if label not in self.species:
                raise GalleryError(f"no species {label!r} in the gallery: {_known(self.species)}")
            photos: dict[str, PhotoStatistics] = {}
            if photo is not None:
                photos = dict(self.species[label].photos)
                matches = [digest for digest in photos if digest.startswith(photo)] if photo else []
                if len(matches) != 1:
                    raise GalleryError(
                        f"{len(matches)} photos of {label!r} have a digest that starts with {photo!r}: "
                        f"it has {', '.join(d[:12] for d in sorted(photos))}"
                    )
                del photos[matches[0]]
            species = dict(self.species)
            del species[label]
            self._swap({**species, label: Species(label, MappingProxyType(photos))} if photos else species)

    def merge(self, other: Gallery) -> MergeReport:
        """Take in another device's gallery: a union by photo, exact and free of order.

        Raises:
            GalleryError: The other gallery is of another network, or no gallery at all.
        """
        if not isinstance(other, Gallery):
            raise GalleryError(
                f"{type(other).__name__} is no gallery: read a file with hmdrn.load_gallery first"
            )
        check_network(self.network, other.network, "the other gallery")
        incoming = other.species
        with self._lock:
            merged = dict(self.species)
            for label, species in incoming.items():
                merged[label] = with_photos(merged.get(label), label, species.photos.values())
            added = tuple(label for label in incoming if label not in self.species)
            extended = {
                label: merged[label].shots - self.species[label].shots
                for label in incoming
                if label in self.species and merged[label].shots > self.species[label].shots
            }
            if any(merged[label] != self.species.get(label) for label in incoming):
                self._swap(merged)
            return MergeReport(added, MappingProxyType(extended))

    def _swap(self, species: Mapping[str, Species]) -> None:
        self._state = (self.generation + 1, _ordered(species))


def clean_label(label: str) -> str:
    """A label as it is kept: Unicode NFC, without surrounding blanks.

    Raises:
        EnrollmentError: It is no string, has nothing to see, is longer than `MAX_LABEL`, or has characters
            that control the text around it.
    """
    if not isinstance(label, str):
        raise EnrollmentError(f"a label must be a string, not {type(label).__name__}")
    cleaned = _normalised(label)
    if all(unicodedata.category(c) in _UNSEEN for c in cleaned):
        raise EnrollmentError(f"the label {label!r} is empty: give the species a name")
    if len(cleaned) > MAX_LABEL:
        raise EnrollmentError(
            f"the label {cleaned[:40]!r}... has {len(cleaned)} characters: use at most {MAX_LABEL}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in _BIDIRECTIONAL for c in cleaned):
        raise EnrollmentError(f"the label {cleaned!r} has control characters: use plain text")
    return cleaned


def with_photos(species: Species | None, label: str, photos: Iterable[PhotoStatistics]) -> Species:
    """A species with photos added by digest.

    Raises:
        EnrollmentError: There is no photo.
    """
    merged = {} if species is None else dict(species.photos)
    for photo in photos:
        known = merged.get(photo.digest)
        merged[photo.digest] = photo if known is None else min(known, photo, key=_preference)
    if not merged:
        raise EnrollmentError(f"no photo for {label!r}: give at least one")
    return Species(label, MappingProxyType(merged))


def holders(species: Mapping[str, Species], label: str, photos: Iterable[str]) -> tuple[str, ...]:
    """The labels of the species other than `label` that hold one of the photos, given by digest."""
    digests = frozenset(photos)
    return tuple(name for name, s in species.items() if name != label and not digests.isdisjoint(s.photos))


def lookalikes(species: Mapping[str, Species], label: str) -> tuple[str, ...]:
    """The labels other than `label` that differ from it in case or blanks alone."""
    folded = _folded(label)
    return tuple(name for name in species if name != label and _folded(name) == folded)


def check_network(own: Network, other: Network, what: str) -> None:
    """Refuse statistics of another network.

    Raises:
        GalleryError: The fingerprints differ.
    """
    if own.fingerprint != other.fingerprint:
        raise GalleryError(
            f"{what} was enrolled with other weights or preprocessing ({other.backbone} {other.head}, "
            f"fingerprint {other.fingerprint[:12]}) than this bundle's ({own.backbone} {own.head}, "
            f"{own.fingerprint[:12]}): "
            "use the bundle it was made with, or enroll the photos again"
        )
    if array_shapes(own) != array_shapes(other):
        raise GalleryError(f"{what} keeps other statistics than this bundle makes: enroll the photos again")


def _normalised(label: object) -> str:
    """The form under which a label is looked up."""
    return unicodedata.normalize("NFC", str(label)).strip()


def _folded(label: str) -> str:
    """The form in which labels that people take for the same are the same."""
    return "".join(label.casefold().split())


def _ordered(species: Mapping[str, Species]) -> Mapping[str, Species]:
    return MappingProxyType({label: species[label] for label in sorted(species)})


def _preference(photo: PhotoStatistics) -> tuple[bool, str, str]:
    """One photo, two devices, different rounding: which statistics to keep must not depend on the order."""
    return (photo.variant != "fp32", photo.variant, photo.content)


def _known(species: Mapping[str, Species]) -> str:
    if not species:
        return "it is empty"
    names = ", ".join(list(species)[:8])
    return f"it has {names}" + (f" and {len(species) - 8} more" if len(species) > 8 else "")
