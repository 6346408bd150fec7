"""Pictures of what is unknown, laid out so that they can be enrolled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from hmdrn.watching.results import Sighting, WatchResult
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import crop_box
from hmdrn_runtime.images.quality import measure_quality, prepare_photo
from hmdrn_runtime.io.files import reason, user_path

MOST = 10
"""Pictures of one subject at most: as many as are worth enrolling."""
FOLDERS = 100
"""Folders that wait to be looked through, at most: a camera that is left alone must not fill its disk."""
_BEGINNING = "unknown-"


class Snapshots:
    """Keeps pictures of unknown subjects: a folder for each, named after when it appeared.

    Without boxes a subject is whatever was unknown without a break, so a folder may show several.

    Name a folder after its species, and `hmdrn enroll BUNDLE FOLDER` enrolls it. A picture is what was
    looked at: the box, the region or the whole frame. Blurred and badly lit frames are passed over.

    Args:
        folder: Where the folders go; made if missing.
        every: Seconds between two pictures, of whatever subjects, at least 0.
        mode: The bundle's preprocessing, for judging a picture's quality.
        folders: Folders still named `unknown-...`, of earlier runs too, beyond which none is begun.
        tell: Called when that is reached.

    Raises:
        HmdrnError: The folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        every: float,
        mode: str,
        folders: int = FOLDERS,
        tell: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._folder = user_path(folder, HmdrnError)
        self._every, self._mode = every, mode
        self._most, self._tell, self._told = folders, tell, False
        self._last: float | None = None
        self._subjects: dict[int, tuple[Path, int]] = {}
        self.taken = 0
        """Pictures so far."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HmdrnError(f"cannot make the folder {folder}: {reason(error)}; choose another") from error

    def take(self, result: WatchResult) -> None:
        """Keep pictures of a frame's unknown subjects, if it is time.

        Raises:
            HmdrnError: A picture cannot be written: the disk is full, or the folder went away.
        """
        for track in result.gone:
            self._subjects.pop(track, None)
        for sighting in result.sightings:
            if sighting.smoothed.state != "unknown":
                self._subjects.pop(sighting.track, None)
            elif sighting.prediction.known is False and self._due(result.frame.position):
                self._keep(result, sighting)

    def _due(self, now: float) -> bool:
        return self._last is None or now - self._last >= self._every

    def _keep(self, result: WatchResult, sighting: Sighting) -> None:
        frame = result.frame
        when = datetime.fromtimestamp(frame.time, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        named = self._folder / f"{_BEGINNING}{when}-{sighting.track}"
        subject, count = self._subjects.get(sighting.track, (named, 0))
        if count >= MOST or (count == 0 and self._full()):
            return
        picture = frame.image if sighting.box is None else crop_box(frame.image, sighting.box)
        if measure_quality(prepare_photo(picture, self._mode)).doubts:
            return
        try:
            subject.mkdir(exist_ok=True)
            picture.save(subject / f"{when}.jpg", quality=95)
        except OSError as error:
            raise HmdrnError(f"cannot keep a snapshot in {subject}: {reason(error)}") from error
        self._subjects[sighting.track] = (subject, count + 1)
        self._last = frame.position
        self.taken += 1

    def _full(self) -> bool:
        """Whether no folder may be begun; told when it comes to that, and again after there was room."""
        waiting = sum(1 for _ in self._folder.glob(f"{_BEGINNING}*"))
        full = waiting >= self._most
        if full and not self._told:
            self._tell(
                f"{self._folder} has {waiting} folders of unknown subjects, and no other is begun until some "
                "are renamed or removed: look through them, or give a higher --snapshot-folders"
            )
        self._told = full
        return full
