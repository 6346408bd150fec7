"""Checks before pictures of what is unknown are kept."""

from __future__ import annotations

from pathlib import Path

from hmdrn.cli.threshold_summary import calibrate_command
from hmdrn.open_set import require_background
from hmdrn.watching.sources import Source
from hmdrn_runtime.errors import GalleryError, HmdrnError
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.recognizer import Recognizer


def check_snapshot_folder(folder: Path, source: Source) -> None:
    """Refuse a snapshot folder among the watched photos: a loop would watch the snapshots in turn."""
    if source.kind == "photos" and source.path is not None:
        target = expand_path(folder, HmdrnError).resolve()
        if source.path.resolve() in (target, *target.parents):
            raise HmdrnError(
                f"cannot keep snapshots in {folder}: its photos are watched; give another folder"
            )


def check_unknowns(recognizer: Recognizer, bundle: str, gallery: Path) -> None:
    """Refuse a gallery for which nothing would ever be unknown."""
    require_background(recognizer)
    if recognizer.gallery.calibration is None:
        raise GalleryError(
            f"{gallery} is not calibrated, so nothing would ever be unknown and kept as a snapshot: run "
            f"{calibrate_command(gallery, bundle)}"
        )
