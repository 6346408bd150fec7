"""Result of putting the species of a photo right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hmdrn_runtime.enrollment.forecast import Estimate
from hmdrn_runtime.enrollment.report import EnrollmentReport


@dataclass(frozen=True)
class PhotoCorrection:
    """Result of a correction.

    Attributes:
        label: The right species.
        moved_from: Other species that held the photo, and hold it no more.
        is_new: True if the species is new to the gallery.
        removed: Species that had no other photo, and are gone.
        enrollment: Report on the photo in its right species.
        before: Forecast of the share of new photos that get the right label, with the gallery as it was;
            None if there is none (see `hmdrn.forecast`).
        after: The same with the corrected gallery.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> correction = birds.correct("species/Sooty Albatross/0.jpg", "Laysan Albatross")
        >>> correction.moved_from
        ('Sooty Albatross',)
    """

    label: str
    moved_from: tuple[str, ...]
    is_new: bool
    removed: tuple[str, ...]
    enrollment: EnrollmentReport
    before: Estimate | None
    after: Estimate | None

    @property
    def changed(self) -> bool:
        """False if the photo was enrolled so already."""
        return bool(self.moved_from or self.enrollment.added)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        expected = {"before": self.before, "after": self.after}
        return {
            "label": self.label,
            "changed": self.changed,
            "moved_from": self.moved_from,
            "is_new": self.is_new,
            "removed": self.removed,
            "shots": self.enrollment.shots,
            "photo": self.enrollment.photos[0].to_dict(),
            "expected_accuracy": {k: None if e is None else asdict(e) for k, e in expected.items()},
        }
