"""Archives in one file, zip and tar, of which nothing is unpacked to the disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from hmdrn.dataset_prep.checks import check_content, check_count, checked, readable
from hmdrn.dataset_prep.tar_stream import BoundedStream
from hmdrn_runtime.datasets.files import MAX_MEMBER_BYTES
from hmdrn_runtime.images.source import describe_source


@dataclass(frozen=True)
class ZipSource:
    """A zip; see `sources.Source`."""

    path: Path

    def members(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
        """Every file's path in the archive's order, and the content of those that are wanted."""
        with readable(self.path), zipfile.ZipFile(self.path) as archive:
            check_count(len(archive.infolist()), self.path)
            for info in archive.infolist():
                # Some tools of Windows write backslashes.
                name = checked(info.filename.replace("\\", "/"), self.path)
                if name is None or info.is_dir():
                    continue
                if not wanted(name):
                    yield name, None
                    continue
                check_content(name, info.file_size, not stat.S_ISLNK(info.external_attr >> 16), self.path)
                with archive.open(info) as file:
                    content = file.read(MAX_MEMBER_BYTES + 1)
                check_content(name, len(content), True, self.path)
                yield name, content


@dataclass(frozen=True)
class TarSource:
    """A tar, packed by gzip, bzip2, xz or not at all; see `sources.Source`."""

    path: Path

    def members(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
        """Every file's path in the archive's order, and the content of those that are wanted."""
        with readable(self.path), _decompressed(self.path) as file:
            stream = BoundedStream(file, MAX_MEMBER_BYTES, describe_source(self.path))
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as archive:
                for count, member in enumerate(archive):
                    check_count(count, self.path)
                    name = checked(member.name, self.path)
                    if name is None or member.isdir():
                        continue
                    if not wanted(name):
                        yield name, None
                        continue
                    check_content(name, member.size, member.isreg() and not member.issparse(), self.path)
                    content = archive.extractfile(member)
                    yield name, content.read() if content is not None else b""
            stream.check_end()


def _decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if head.startswith(b"BZh"):
        return bz2.open(path)
    if head == b"\xfd7zXZ\0":
        return lzma.open(path)
    return path.open("rb")
