"""Removes private names and folders from a report: strangers read bug reports."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MAC = re.compile(r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b")
_PATH = re.compile(r"(?:~|[A-Za-z]:(?=[\\/]))?(?:[\\/][^\\/\s:'\"(),;]+)+[\\/](?=[^\\/\s:'\"(),;])")
"""The folders of a path, up to its last part."""
_MIN_NAME_LENGTH = 3
"""Shorter names are ordinary words or parts of them, and identify nobody."""


def private_names() -> dict[str, str]:
    """Return the names of this user and this machine, each with its substitute."""
    names = {socket.gethostname(): "<host>", Path.home().name: "<user>"}
    names |= {os.environ[key]: "<user>" for key in ("USER", "LOGNAME", "USERNAME") if key in os.environ}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name, as in containers
        names[getpass.getuser()] = "<user>"
    return {name: substitute for name, substitute in names.items() if len(name) >= _MIN_NAME_LENGTH}


def private_folders(bundle: str) -> dict[str, str]:
    """Return the folders above a bundle, and home, each with its substitute.

    Other folders are recognized by their slashes; these may also have blanks in them, or be relative.
    """
    given = Path(bundle)
    spellings = [given, Path(os.path.expanduser(bundle)), Path(os.path.abspath(bundle))]  # noqa: PTH100, PTH111
    parents = {
        f"{path.parent}{os.sep}": "" for path in spellings if path.parent not in (Path(), Path(path.anchor))
    }
    return {**parents, str(Path.home()): "~"}


def redact_text(text: str, names: Mapping[str, str], folders: Mapping[str, str]) -> str:
    """Put the substitutes for names and folders, ".../" for other folders, and "<mac>" for MAC addresses."""
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, folders[folder])
    text = _MAC.sub("<mac>", _PATH.sub(".../", text))
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", names[name], text)
    return text


def redact(value: Any, names: Mapping[str, str], folders: Mapping[str, str]) -> Any:
    """Return a JSON value with every text in it redacted."""
    if isinstance(value, str):
        return redact_text(value, names, folders)
    if isinstance(value, Mapping):
        return {redact_text(str(k), names, folders): redact(v, names, folders) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(v, names, folders) for v in value]
    return value
