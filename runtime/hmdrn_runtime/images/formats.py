"""Image files of the known formats, opened as far as their header.

Files are taken for hostile: a decoder is chosen here, and no pixel is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.messages import one_line

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")
"""Lower-case endings of the photographs that every device reads."""
FOREIGN_SUFFIXES = (
    *(".heic", ".heif", ".avif", ".jxl"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)
"""Endings of photographs that are read where Pillow can and are otherwise refused by name."""
PHOTO_SUFFIXES = IMAGE_SUFFIXES + FOREIGN_SUFFIXES
"""Lower-case endings of the files that count as photographs: none is passed over in silence."""

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
"""Lower-case endings of videos."""
A_VIDEO = (
    "is a video, not a photo: give it to hmdrn watch --source, or enroll frames of it with "
    "examples/enroll_from_video.py"
)
"""What to say of a video where photos are expected, after its name."""

_FORMATS = "JPEG, PNG, WebP, BMP, TIFF, PPM or GIF"

# The plugins are picked here by the file's first bytes and not by Image.open, which would offer hostile
# bytes to every decoder installed (one of them starts an interpreter of PostScript).
_READERS: tuple[tuple[tuple[bytes, ...], type[ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"PF", b"Pf"), PpmImagePlugin.PpmImageFile),
)

_AVIF = (b"ftypavif", b"ftypavis")
_FOREIGN: tuple[tuple[int, tuple[bytes, ...], str], ...] = (
    (4, _AVIF, "AVIF"),
    (4, (b"ftyphe", b"ftypmif1", b"ftypmsf1"), "HEIC"),
    (4, (b"ftypcrx ",), "a camera's raw file"),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "JPEG XL"),
    (0, (b"FUJIFILM", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"), "a camera's raw file"),
)
"""What cameras and telephones write that Pillow cannot read, or not everywhere: place, bytes, format."""
_VIDEOS: tuple[tuple[int, tuple[bytes, ...]], ...] = (
    (4, (b"ftyp", b"moov", b"mdat", b"wide")),  # MP4 and QuickTime, where the brand is none of a photo
    (8, (b"AVI ",)),
    (0, (b"\x1aE\xdf\xa3",)),  # Matroska and WebM
)


def is_photo(name: str) -> bool:
    """Whether a file counts as a photograph, by the ending of its name."""
    return name.lower().endswith(PHOTO_SUFFIXES)


def is_hidden(parts: Iterable[str]) -> bool:
    """Whether systems and tools left a file behind (.git, .DS_Store, __MACOSX), by the parts of its path."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def is_video(name: str) -> bool:
    """Whether a file counts as a video, by the ending of its name."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def open_file(source: str | os.PathLike[str], name: str) -> IO[bytes]:
    """Open an image file for reading; `name` is what messages call it.

    Raises:
        ImageError: the path is missing, unreadable, or not a regular file.

    """
    try:
        path = Path(os.fsdecode(source)).expanduser()
        if path.is_dir():
            raise ImageError(f"{name} is a folder: pass the path of one image file")
        if not path.exists():
            raise ImageError(f"{name} does not exist: check the path")
        if not path.is_file():  # to open a pipe or a device may block for ever
            raise ImageError(f"{name} is not a regular file: pass the path of an image file")
        return path.open("rb")
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no home to expand "~user" to
        raise ImageError(
            f"{name} cannot be opened ({one_line(error)}): check the path and its permissions"
        ) from error


def read_header(stream: IO[bytes], size: int, name: str) -> ImageFile.ImageFile:
    """The image in a file of `size` bytes: its width, height and mode are known, its pixels not yet.

    Raises:
        ImageError: the file is empty, or of no known format.
        Exception: of nearly any type, from a decoder that finds the header damaged.

    """
    if size == 0:
        raise ImageError(f"{name} is empty: pass an image file of 1 byte or more")
    head = stream.read(16)
    stream.seek(0)
    if head[4:].startswith(_AVIF) and "avif" in features.modules and features.check_module("avif"):
        from PIL import AvifImagePlugin  # since Pillow 11.3, and not in every build of it

        return AvifImagePlugin.AvifImageFile(stream)
    for place, beginnings, kind in _FOREIGN:
        if head[place:].startswith(beginnings):
            raise ImageError(f"{name} is {kind}, which cannot be read here: convert it to JPEG or PNG")
    for place, beginnings in _VIDEOS:
        if head[place:].startswith(beginnings):
            raise ImageError(f"{name} {A_VIDEO}")
    for beginnings, reader in _READERS:
        if head.startswith(beginnings):
            return reader(stream)  # reads the header and no pixel
    if is_video(name):
        raise ImageError(f"{name} {A_VIDEO}")
    raise ImageError(
        f"{name} is not an image of a known format (it begins with {head[:12]!r}): convert it to {_FORMATS}"
    )
