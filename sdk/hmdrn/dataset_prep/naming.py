"""Names of classes and photos that are fit to be a folder's and a file's, on every system."""

from __future__ import annotations

from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.formats import is_hidden

MAX_NAME = 120


def safe_label(name: str, where: str) -> str:
    """A name with "-" for slashes, as "F-16A/B" has one.

    Args:
        name: The name in the archive.
        where: Which file has it, for messages.

    Raises:
        DatasetError: It is empty, hidden, not printable or too long.
    """
    label = name.strip().replace("/", "-").replace("\\", "-")
    if not label or len(label) > MAX_NAME or is_hidden([label]) or not label.isprintable():
        raise DatasetError(
            f"{where} has a name that no folder can have, {name[: MAX_NAME + 1]!r}: "
            "it is damaged, or none of the known archives"
        )
    return label
