"""The time at which a photo was taken."""

from __future__ import annotations

import io
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, TypeAlias

import PIL.Image
from PIL import ExifTags

from hmdrn_runtime.images.formats import open_image_file, read_image_header

_Photo: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | PIL.Image.Image

_EXIF_KEYS = (
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.OffsetTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
    (ExifTags.Base.DateTime, ExifTags.Base.OffsetTime, ExifTags.Base.SubsecTime),
)
"""Time, offset from UTC and fraction of a second, the best first."""


def read_capture_time(photo: _Photo) -> datetime | None:
    """Return the time in a photo's EXIF (UTC); None if it has none, or cannot be read.

    EXIF has local time; without an offset it is that of this computer's time zone.

    Args:
        photo: Its path, the bytes of its file, or a Pillow image.
    """
    try:
        values = _read_exif(photo)
    except Exception:  # decoders raise nearly anything on damaged bytes
        return None
    for time_key, offset_key, fraction_key in _EXIF_KEYS:
        time = _parse(values.get(time_key), values.get(offset_key), values.get(fraction_key))
        if time is not None:
            return time
    return None


def _read_exif(photo: _Photo) -> dict[int, Any]:
    if isinstance(photo, PIL.Image.Image):
        exif = photo.getexif()
        return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    if isinstance(photo, bytes | bytearray | memoryview):
        stream: IO[bytes] = io.BytesIO(photo)
    else:
        stream = open_image_file(photo, str(photo))
    with stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        return _read_exif(read_image_header(stream, size, "photo"))


def find_capture_time(path: Path) -> datetime:
    """Return the time in a photo's EXIF, else that of the file's last change, else the present (UTC)."""
    time = read_capture_time(path)
    if time is not None:
        return time
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except (OSError, OverflowError, ValueError):
        return datetime.now(timezone.utc)


def _parse(time: object, offset: object, fraction: object) -> datetime | None:
    try:
        moment = datetime.strptime(str(time).strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
        digits = str(fraction).strip("\0 ") if fraction is not None else ""
        if digits.isdecimal():
            moment = moment.replace(microsecond=int(f"{digits[:6]:0<6}"))
        text = str(offset).strip("\0 ") if offset is not None else ""
        zone = datetime.strptime(text, "%z").tzinfo if text else None
        moment = moment.replace(tzinfo=zone) if zone is not None else moment.astimezone()
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
