"""Read the files in a downloaded archive: a tar, a zip, a folder, or a lone .mat file.

Archives are untrusted. Nothing is unpacked to the disk and no link is followed. Names, the number of members
and the size of a member are checked before its content is read.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias, cast

from hmdrn_runtime.datasets.files import MAX_MEMBER_BYTES
from hmdrn_runtime.datasets.system_files import is_system_path
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.io.files import expand_path
from hmdrn_runtime.messages import format_error

MAX_MEMBERS = 500_000
"""Most members of one archive; the largest known archive has 41,000."""

IsWanted: TypeAlias = Callable[[str], bool]
"""Returns true if a member's content is needed, given its '/'-separated path."""


class _Entry(NamedTuple):
    """A member as its archive lists it: raw name, size in bytes, whether it is a plain file, its reader."""

    name: str
    size: int
    is_plain: bool
    read: Callable[[], bytes]


def check_archive(archive: str | os.PathLike[str]) -> Path:
    """Return the expanded path of an archive.

    Raises:
        DatasetError: The path is missing, or is neither a file nor a folder.
    """
    path = expand_path(archive, DatasetError)
    if not (path.is_dir() or path.is_file()):
        problem = "is not a regular file" if path.exists() else "does not exist"
        raise DatasetError(f"{describe_source(path)} {problem}: pass an archive as it was downloaded")
    return path


def read_members(path: Path, is_wanted: IsWanted) -> Iterator[tuple[str, bytes | None]]:
    """Yield every file's path in an archive, with the content of the wanted ones, in the archive's order.

    Files that operating systems leave behind are skipped.

    Raises:
        DatasetError: The archive is damaged, or is not to be trusted.
    """
    archive = describe_source(path)
    try:
        for count, entry in enumerate(_list_entries(path), 1):
            if count > MAX_MEMBERS:
                raise DatasetError(
                    f"{archive} has more than {MAX_MEMBERS} members: it is not one of the known archives"
                )
            name = _clean_name(entry.name, archive)
            if name is None:
                continue
            if not is_wanted(name):
                yield name, None
                continue
            if not entry.is_plain:
                raise DatasetError(
                    f"{name!r} in {archive} is a link or another special file: links are not followed; "
                    "use the archive as it was downloaded, or put the file itself there"
                )
            if entry.size > MAX_MEMBER_BYTES:
                raise DatasetError(
                    f"{name!r} in {archive} unpacks to {entry.size} bytes, over the limit of "
                    f"{MAX_MEMBER_BYTES}: do not trust this archive"
                )
            yield name, entry.read()
    except DatasetError:
        raise
    except Exception as error:  # tarfile, zipfile and their decompressors raise nearly anything on damage
        # tarfile appends what each of its decompressors says.
        cause = format_error(error).partition(": - method")[0]
        raise DatasetError(
            f"{archive} cannot be read ({cause}): it is damaged or not an archive (.tgz, .tar, .zip); "
            "download it again"
        ) from error


def _clean_name(name: str, archive: str) -> str | None:
    """Return a member's path without "./"; None for files that operating systems leave behind."""
    if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
        raise DatasetError(f"{archive} has a member outside of itself, {name!r}: do not trust this archive")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if not parts or is_system_path(parts) else "/".join(parts)


def _list_entries(path: Path) -> Iterator[_Entry]:
    if path.is_dir():
        return _list_folder(path)
    if path.suffix.lower() == ".mat":
        return iter([_Entry(path.name, path.stat().st_size, True, path.read_bytes)])
    with path.open("rb") as file:
        is_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    return _list_zip(path) if is_zip else _list_tar(path)


def _list_zip(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                name = info.filename.replace("\\", "/")  # some tools of Windows write backslashes
                is_plain = not stat.S_ISLNK(info.external_attr >> 16)
                yield _Entry(name, info.file_size, is_plain, partial(archive.read, info))


def _list_tar(path: Path) -> Iterator[_Entry]:
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isdir():
                read = partial(_read_tar_member, archive, member)
                yield _Entry(member.name, member.size, member.isreg(), read)
        # tarfile accepts a tar that was cut off between two members. The block after the last is zeros.
        stream = cast(IO[bytes], archive.fileobj)
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise DatasetError(
                f"{describe_source(path)} ends early: it was not downloaded whole; download it again"
            )
        while stream.read(1 << 16):  # up to the checksum, which gzip compares at the end of its data
            pass


def _read_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return cast(IO[bytes], archive.extractfile(member)).read()


def _list_folder(path: Path) -> Iterator[_Entry]:
    def fail(error: OSError) -> None:
        raise error

    # The folder's own name comes first, so that "cars_train" itself serves as well as its parent.
    root = path.resolve().name.lstrip(".") or "folder"
    for folder, folders, files in os.walk(path, onerror=fail):
        folders[:] = sorted(name for name in folders if not is_system_path([name]))
        for link in (Path(folder, name) for name in folders if Path(folder, name).is_symlink()):
            raise DatasetError(
                f"{describe_source(link)} is a link to a folder: links are not followed; "
                "put the folder itself there, or pass it as a further archive"
            )
        for file in (Path(folder, name) for name in sorted(files)):
            status = file.lstat()
            name = f"{root}/{file.relative_to(path).as_posix()}"
            yield _Entry(name, status.st_size, stat.S_ISREG(status.st_mode), file.read_bytes)
