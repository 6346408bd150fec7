"""Taking out of a report what is nobody's business: a report of a bug is read by strangers."""

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
_SHORTEST = 3
"""Letters of a name: the word "a" says nothing of a user who is called so."""


def names() -> dict[str, str]:
    """The names of this user and this machine, each with what stands for it in a report."""
    found = {socket.gethostname(): "<host>", Path.home().name: "<user>"}
    found |= {os.environ[key]: "<user>" for key in ("USER", "LOGNAME", "USERNAME") if key in os.environ}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name, as in containers
        found[getpass.getuser()] = "<user>"
    return {name: sign for name, sign in found.items() if len(name) >= _SHORTEST}


def folders(bundle: str) -> dict[str, str]:
    """The folders that a report may name in full, each with what stands for it: the bundle's, and home.

    Other folders are told by their slashes; of these alone it is known how long they are where they have
    blanks in them or are relative.
    """
    given = Path(bundle)
    spellings = [given, Path(os.path.expanduser(bundle)), Path(os.path.abspath(bundle))]  # noqa: PTH100, PTH111
    above = {
        f"{path.parent}{os.sep}": "" for path in spellings if path.parent not in (Path(), Path(path.anchor))
    }
    return {**above, str(Path.home()): "~"}


def scrub(text: str, private: Mapping[str, str], known: Mapping[str, str]) -> str:
    """A text without folders, MAC addresses and the names in `private`.

    Args:
        text: Any text, as libraries write it.
        private: What stands for each name.
        known: What stands for folders that are known, as `folders` gives them.
    """
    for folder in sorted(known, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, known[folder])
    text = _MAC.sub("<mac>", _PATH.sub(".../", text))
    for name in sorted(private, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", private[name], text)
    return text


def scrubbed(value: Any, private: Mapping[str, str], known: Mapping[str, str]) -> Any:
    """A JSON value with every text in it scrubbed."""
    if isinstance(value, str):
        return scrub(value, private, known)
    if isinstance(value, Mapping):
        return {scrub(str(key), private, known): scrubbed(v, private, known) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(v, private, known) for v in value]
    return value
