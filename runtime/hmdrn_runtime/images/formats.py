"""Image file formats: their names, and opening a file as far as its header.

Files are untrusted: the decoder is chosen here by the first bytes, and no pixel is decoded.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import IO, cast

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.messages import format_error

# Not Image.open(formats=...): of a phone's multi-picture JPEG it leaves the stream at the start, where its
# scans cannot be counted, and it warns about sizes that are refused here anyway.
_DECODERS: tuple[tuple[tuple[bytes, ...], type[ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"\x28\0\0\0",), BmpImagePlugin.DibImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"PF", b"Pf"), PpmImagePlugin.PpmImageFile),
)
_FORMATS = {decoder.format for _, decoder in _DECODERS}
# The usual ones first, for messages; .mpo is a phone's multi-picture JPEG.
_USUAL = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".mpo")
IMAGE_SUFFIXES = tuple(
    dict.fromkeys((*_USUAL, *(s for s, name in Image.EXTENSION.items() if name in _FORMATS)))
)
"""Lower-case suffixes of the photos that every device reads: those that Pillow has for the decoders above."""
OPTIONAL_SUFFIXES = (
    *(".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".jxl", ".jp2", ".j2k", ".j2c"),
    *(".jpc", ".jpf", ".jpx", ".jpm", ".jxr", ".wdp", ".hdp"),
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".srw", ".raf"),
    *(".orf", ".rw2", ".pef", ".rwl", ".3fr", ".iiq", ".x3f", ".gpr", ".erf", ".mrw", ".dcr"),
    *(".kdc", ".mos", ".mef"),
)
"""Lower-case suffixes of photos that are read where Pillow supports them, and refused by name elsewhere."""
PHOTO_SUFFIXES = IMAGE_SUFFIXES + OPTIONAL_SUFFIXES
"""Lower-case suffixes of all files that count as photos; none is skipped silently."""
OTHER_IMAGE_SUFFIXES = (
    *(".psd", ".psb", ".xcf", ".tga", ".exr", ".hdr", ".pcx", ".dds", ".qoi", ".sgi", ".ras"),
    *(".fits", ".svg", ".svgz", ".eps", ".ico", ".icns", ".cur", ".xbm", ".xpm", ".wmf", ".emf"),
    *(".dcm", ".pam", ".flif", ".raw"),
)
"""Lower-case suffixes of images that are seldom photos: they are left out by name."""

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
"""Lower-case suffixes of videos."""
VIDEO_ADVICE = (
    "is a video, not a photo: give it to hmdrn watch --source, or enroll frames of it with "
    "examples/enroll_from_video.py"
)
"""End of a message, after the file's name, about a video where photos are expected."""

_AVIF = (b"ftypavif", b"ftypavis")
_HEIC = (b"ftyphe", b"ftypmif1", b"ftypmsf1")
_CONVERT = "is {}, which cannot be read here: convert it to JPEG or PNG"
# Videos, and photo formats that Pillow cannot read, or not everywhere: offset, first bytes, advice.
_REFUSED: tuple[tuple[int, tuple[bytes, ...], str], ...] = (
    (4, _AVIF, _CONVERT.format("AVIF")),
    (4, _HEIC, "is HEIC, which needs hmdrn's extra 'heic' (pillow-heif): convert it to JPEG or PNG"),
    (4, (b"ftypcrx ",), _CONVERT.format("a camera's raw file")),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), _CONVERT.format("JPEG XL")),
    (0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), _CONVERT.format("JPEG 2000")),
    (0, (b"FUJIFILM", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"), _CONVERT.format("a camera's raw file")),
    (4, (b"ftyp", b"moov", b"mdat", b"wide"), VIDEO_ADVICE),  # MP4 and QuickTime, of any other brand
    (8, (b"AVI ",), VIDEO_ADVICE),
    (0, (b"\x1aE\xdf\xa3",), VIDEO_ADVICE),  # Matroska and WebM
)


def is_photo(name: str) -> bool:
    """Return whether a file counts as a photo, by its suffix."""
    return name.lower().endswith(PHOTO_SUFFIXES)


def is_video(name: str) -> bool:
    """Return whether a file counts as a video, by its suffix."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def is_other_image(name: str) -> bool:
    """Return whether a file counts as an image that is not a photo, by its suffix."""
    return name.lower().endswith(OTHER_IMAGE_SUFFIXES)


def open_image_file(source: str | os.PathLike[str], name: str) -> IO[bytes]:
    """Open an image file for reading; `name` is its name in messages.

    Raises:
        ImageError: The path is missing, unreadable, or not a regular file.
    """
    try:
        path = Path(os.fsdecode(source)).expanduser()
        if path.is_dir():
            raise ImageError(f"{name} is a folder: pass the path of one image file")
        if not path.exists():
            problem = "is a link to a missing file" if path.is_symlink() else "does not exist"
            raise ImageError(f"{name} {problem}: check the path")
        if not path.is_file():  # opening a pipe or a device may block forever
            raise ImageError(f"{name} is not a regular file: pass the path of an image file")
        return path.open("rb")
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no home for "~user"
        raise ImageError(
            f"{name} cannot be opened ({format_error(error)}): check the path and its permissions"
        ) from error


def read_image_header(stream: IO[bytes], size: int, name: str) -> ImageFile.ImageFile:
    """Open the image in a file of `size` bytes; its width, height and mode are known, its pixels not yet.

    Raises:
        ImageError: The file is empty, or of no known format.
        Exception: Of nearly any type, from a decoder that finds the header damaged.
    """
    if size == 0:
        raise ImageError(f"{name} is empty: pass an image file of 1 byte or more")
    head = stream.read(16)
    stream.seek(0)
    if head[4:].startswith(_AVIF) and "avif" in features.modules and features.check_module("avif"):
        from PIL import AvifImagePlugin  # since Pillow 11.3, and not in every build of it

        return AvifImagePlugin.AvifImageFile(stream)
    if head[4:].startswith(_HEIC) and (decoder := _find_heic_decoder()) is not None:
        return decoder(stream)
    for offset, prefixes, advice in _REFUSED:
        if head[offset:].startswith(prefixes):
            raise ImageError(f"{name} {advice}")
    for prefixes, open_image in _DECODERS:
        if head.startswith(prefixes):
            return open_image(stream)
    if is_video(name):
        raise ImageError(f"{name} {VIDEO_ADVICE}")
    raise ImageError(
        f"{name} is not an image of a known format (it begins with {head[:12]!r}): "
        "convert it to JPEG, PNG, WebP, BMP, TIFF, PPM or GIF"
    )


def _find_heic_decoder() -> type[ImageFile.ImageFile] | None:
    try:
        return cast(type[ImageFile.ImageFile], importlib.import_module("pillow_heif").HeifImageFile)
    except ImportError:  # an extra; a damaged one counts as missing
        return None
