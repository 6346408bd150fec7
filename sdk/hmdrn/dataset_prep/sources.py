"""Archives as they were downloaded, read from front to back: a tar, a zip, a folder, or a lone .mat file.

They are taken for hostile. Nothing is unpacked to the disk and no link is followed; a member may not lie
outside, and neither a member nor what is said about one may unpack to more than a limit.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from hmdrn.dataset_prep.checks import check_content, check_count, checked, readable
from hmdrn.dataset_prep.readers import TarSource, ZipSource
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.io.files import user_path

Wanted: TypeAlias = Callable[[str], bool]
"""Whether a member's content is asked for, by its '/'-separated path."""


class Source(Protocol):
    """One archive. `members` may be called again and starts anew."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def members(self, wanted: Wanted) -> Iterator[tuple[str, bytes | None]]:
        """Every file's path in the archive's order, and the content of those that are wanted.

        Raises:
            DatasetError: the archive is damaged, or not to be trusted.
        """


def open_source(given: str | os.PathLike[str]) -> Source:
    """Tell what kind of archive a path is.

    Raises:
        DatasetError: there is nothing, or something that is neither a file nor a folder.
    """
    path = user_path(given, DatasetError)
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        problem = "is not a regular file" if path.exists() else "does not exist"
        raise DatasetError(f"{describe_source(path)} {problem}: pass an archive as it was downloaded")
    if path.suffix.lower() == ".mat":
        return _LoneFile(path)
    with readable(path), path.open("rb") as file:
        head = file.read(4)
    return ZipSource(path) if head in (b"PK\x03\x04", b"PK\x05\x06") else TarSource(path)


def file_digest(path: Path) -> str | None:
    """SHA-256 of an archive's bytes; None for a folder, which has none of its own."""
    if path.is_dir():
        return None
    total = hashlib.sha256()
    with readable(path), path.open("rb") as file:
        while piece := file.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


@dataclass(frozen=True)
class _LoneFile:
    path: Path

    def members(self, wanted: Wanted) -> Iterator[tuple[str, bytes | None]]:
        name = self.path.name
        with readable(self.path):
            check_content(name, self.path.stat().st_size, True, self.path)
            yield name, self.path.read_bytes() if wanted(name) else None


@dataclass(frozen=True)
class _Folder:
    path: Path

    def members(self, wanted: Wanted) -> Iterator[tuple[str, bytes | None]]:
        count = 0
        with readable(self.path):
            # With its own name in front, so that "cars_train" itself serves as well as what it lies in.
            above = self.path.resolve().name.lstrip(".") or "folder"
            for file in self._files():
                name = checked(f"{above}/{file.relative_to(self.path).as_posix()}", self.path)
                count += 1
                check_count(count, self.path)
                if name is None or not wanted(name):
                    content = None
                else:
                    status = file.lstat()
                    check_content(name, status.st_size, stat.S_ISREG(status.st_mode), self.path)
                    content = file.read_bytes()
                if name is not None:
                    yield name, content

    def _files(self) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise error

        for folder, folders, files in os.walk(self.path, onerror=refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in folders:
                if (Path(folder) / name).is_symlink():
                    raise DatasetError(
                        f"{describe_source(Path(folder) / name)} is a link to a folder: links are not "
                        "followed; put the folder itself there, or pass it as a further archive"
                    )
            yield from (Path(folder) / name for name in sorted(files))
