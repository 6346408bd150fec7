"""Names of folders for species."""

from __future__ import annotations

import re

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def name_folder(label: str) -> str:
    """Return a species' label as the name of a folder that every file system takes, FAT included."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", label).strip(" .")
    return f"_{name}" if not name or _RESERVED.fullmatch(name) else name
