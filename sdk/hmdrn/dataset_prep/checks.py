"""What an archive is not trusted with: names, links, sizes, and whatever reading it raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hmdrn_runtime.datasets.files import MAX_MEMBER_BYTES
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.formats import is_hidden
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.messages import one_line

MAX_MEMBERS = 500_000
"""Most members of one archive; the largest that is known here has 41,000."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever reading an archive raises into one error that names it.

    Raises:
        DatasetError: Reading failed.
    """
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # tarfile, zipfile and their decompressors raise nearly anything on damage
        raise DatasetError(
            f"{describe_source(path)} cannot be read ({one_line(error)}): "
            "it is damaged or no archive (.tgz, .tar, .zip); download it again"
        ) from error


def checked(name: str, path: Path) -> str | None:
    """A member's path without "./"; None for what systems and tools leave behind.

    Raises:
        DatasetError: It lies outside of the archive.
    """
    if name.startswith("/") or re.match("[A-Za-z]:[/\\\\]", name) or ".." in re.split(r"[/\\]", name):
        raise DatasetError(
            f"{describe_source(path)} has a member outside of itself, {name!r}: do not trust this archive"
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or is_hidden(parts):
        return None
    return "/".join(parts)


def check_content(name: str, size: int, regular: bool, path: Path) -> None:
    """Refuse to read a member that is wanted.

    Raises:
        DatasetError: It is a link or the like, or larger than the limit.
    """
    if not regular:
        raise DatasetError(
            f"{name!r} in {describe_source(path)} is a link or no plain file: links are not followed; "
            "use the archive as it was downloaded, or put the file itself there"
        )
    if size > MAX_MEMBER_BYTES:
        raise DatasetError(
            f"{name!r} in {describe_source(path)} unpacks to {size} bytes, over the limit of "
            f"{MAX_MEMBER_BYTES}: do not trust this archive"
        )


def check_count(count: int, path: Path) -> None:
    """Refuse an archive that never ends.

    Raises:
        DatasetError: It has more members than the limit.
    """
    if count > MAX_MEMBERS:
        raise DatasetError(
            f"{describe_source(path)} has more than {MAX_MEMBERS} members: it is none of the known archives"
        )
