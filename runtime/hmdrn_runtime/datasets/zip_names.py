"""Names of a zip's members, which older tools write without their encoding.

The format knows two: UTF-8, with a flag, and code page 437. macOS writes UTF-8 without the flag, and Windows
the code page of its language. Bytes that may be Chinese, Japanese or Cyrillic have many readings, so that no
name is made of them.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
_WESTERN = "cp850"  # the letters of 437 and more
_EAST_ASIAN = ("cp932", "gbk", "big5", "cp949")
_ALPHABETS = frozenset(
    {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "SYRIAC", "THAANA", "NKO"}
)


@dataclass(frozen=True)
class MemberNames:
    """The members of a zip by name.

    Attributes:
        members: Members by their '/'-separated path; of two with one path the last, as after unpacking.
        unknown: Names that cannot be decoded, as bytes.
        guessed: Names that were read as Western European, since nothing says so.
    """

    members: Mapping[str, zipfile.ZipInfo]
    unknown: tuple[bytes, ...]
    guessed: tuple[str, ...]


def decode_names(infos: Iterable[zipfile.ZipInfo]) -> MemberNames:
    """Decode the names of a zip's members: all those without a declared encoding in the same one."""
    listed = [(info, _read_declared(info)) for info in infos]
    undeclared = [_raw_name(info) for info, name in listed if name is None]
    encoding = next(
        (e for e in ("utf-8", _WESTERN) if all(_is_plausible(raw, e) for raw in undeclared)), None
    )
    members, unknown, guessed = {}, [], []
    for info, name in listed:
        if name is None:
            raw = _raw_name(info)
            if encoding is None and not raw.isascii():
                unknown.append(raw)
                continue
            name = raw.decode(encoding or "ascii")
            if encoding == _WESTERN and not raw.isascii():
                guessed.append(name)
        members[name.replace("\\", "/")] = info  # some tools of Windows write backslashes
    return MemberNames(members, tuple(unknown), tuple(guessed))


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("cp437").partition(b"\0")[0]


def _read_declared(info: zipfile.ZipInfo) -> str | None:
    """Return the name if its encoding is declared, by the flag or in Info-ZIP's field for it."""
    if info.flag_bits & _UTF8_FLAG:
        return info.orig_filename.partition("\0")[0]
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        # Version 1, and the checksum of the name that it stands for: a tool may have renamed the member.
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(_raw_name(info))):
            try:
                return field[5:].decode() or None
            except UnicodeDecodeError:
                return None
    return None


def _is_plausible(raw: bytes, encoding: str) -> bool:
    if raw.isascii():
        return True
    if encoding == "utf-8":
        return _decodes(raw, "utf-8") and not _mixes_scripts(raw.decode())
    text = raw.decode(_WESTERN)
    if not all(c.isascii() or (c.isalpha() and c != "ƒ") or c == "°" for c in text):
        return False
    shares = [
        sum(not c.isascii() for c in word) / len(word)
        for word in re.findall(r"[^\W\d_]+", text)
        if len(word) > 1
    ]
    densest = max(shares, default=0.0)
    # Few letters of a Western word have accents. Of two bytes for a character one or both look like such.
    return densest < 0.5 or (densest < 0.7 and not any(_decodes(raw, e) for e in _EAST_ASIAN))


def _mixes_scripts(text: str) -> bool:
    """Return whether a word has letters of two alphabets, as Chinese that is valid UTF-8 by chance has."""
    return any(
        len({unicodedata.name(c, "").partition(" ")[0] for c in word if not c.isascii()} & _ALPHABETS) > 1
        for word in re.findall(r"[^\W\d_]+", text)
    )


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
