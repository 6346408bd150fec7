"""Save images of unknown subjects, laid out so that they can be enrolled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from hmdrn.watching.results import Sighting, WatchResult
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.images.quality import measure_quality, prepare_photo
from hmdrn_runtime.io.files import describe_os_error, expand_path
from hmdrn_runtime.io.permissions import open_private

MAX_PICTURES = 10
"""Most images of one subject: as many as are worth enrolling."""
MAX_FOLDERS = 100
"""Most folders that wait to be reviewed: an unattended camera must not fill its disk."""
_PREFIX = "unknown-"


class SnapshotWriter:
    """Saves images of unknown subjects: a folder for each, named after the time when it appeared.

    Without boxes a subject is anything that was unknown without a break, so a folder may show several.

    Name a folder after its species, and `hmdrn enroll BUNDLE FOLDER` enrolls it. An image is what was
    classified: the box, the region or the whole frame. Blurred and badly lit frames are skipped. An image can
    be read by its user alone.

    Args:
        folder: The parent of the folders; made if missing.
        every: Seconds between two images, of any subjects, at least 0.
        preprocessing: The bundle's, to judge an image's quality.
        folders: Folders still named `unknown-...`, also of earlier runs, beyond which no other is started.
        report: Called when that limit is reached.

    Attributes:
        count: Images so far.

    Raises:
        HmdrnError: The folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        every: float,
        preprocessing: Preprocessing,
        folders: int = MAX_FOLDERS,
        report: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._folder = expand_path(folder, HmdrnError)
        self._every, self._preprocessing = every, preprocessing
        self._max_folders, self._report, self._is_reported = folders, report, False
        self._last: float | None = None
        self._subjects: dict[int, tuple[Path, int]] = {}
        self.count: int = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HmdrnError(
                f"cannot make the folder {folder}: {describe_os_error(error)}; choose another"
            ) from error

    def add(self, result: WatchResult) -> None:
        """Save images of a frame's unknown subjects, if enough time has passed.

        Raises:
            HmdrnError: An image cannot be written: the disk is full, or the folder is gone.
        """
        for track in result.gone:
            self._subjects.pop(track, None)
        for sighting in result.sightings:
            now = result.frame.position
            if sighting.smoothed.state != "unknown":
                self._subjects.pop(sighting.track, None)
            elif sighting.prediction.known is False and (
                self._last is None or now - self._last >= self._every
            ):
                self._save(result, sighting)

    def _save(self, result: WatchResult, sighting: Sighting) -> None:
        frame = result.frame
        time = datetime.fromtimestamp(frame.time, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        if frame.file is not None:  # several photos may have been taken in one second
            time += f"-{frame.index}"
        new_folder = self._folder / f"{_PREFIX}{time}-{sighting.track}"
        folder, count = self._subjects.get(sighting.track, (new_folder, 0))
        if count >= MAX_PICTURES or (count == 0 and self._is_full()):
            return
        image = frame.image if sighting.box is None else frame.crop(sighting.box)
        if measure_quality(prepare_photo(image, self._preprocessing)).issues:
            return
        try:
            folder.mkdir(exist_ok=True)
            with open_private(folder / f"{time}.jpg") as file:
                image.save(file, "JPEG", quality=95)
        except OSError as error:
            raise HmdrnError(f"cannot save a snapshot in {folder}: {describe_os_error(error)}") from error
        self._subjects[sighting.track] = (folder, count + 1)
        self._last = frame.position
        self.count += 1

    def _is_full(self) -> bool:
        """Return whether no folder may be started; report when that begins."""
        waiting = sum(1 for _ in self._folder.glob(f"{_PREFIX}*"))
        full = waiting >= self._max_folders
        if full and not self._is_reported:
            self._report(
                f"{self._folder} has {waiting} folders of unknown subjects, and no other is started until "
                "some are renamed or removed: look through them, or give a higher --snapshot-folders"
            )
        self._is_reported = full
        return full
