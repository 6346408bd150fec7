"""Whose engines may run: an engine is native code, and a bundle comes from anywhere.

The rule: an engine runs if this user built it on this device, or vouches for it. `hmdrn build` notes the
SHA-256 of the fingerprint, which has those of all engines, in the user's state folder, outside of every
bundle: one that comes with engines of its own is not in there, whatever its files say of themselves.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.files import reason, write_atomically


def state_folder() -> Path:
    """Where it is noted: $XDG_STATE_HOME/hmdrn/engines, ~/.local/state/hmdrn/engines without it."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hmdrn" / "engines"


def trust(fingerprint: bytes, engines: Path) -> None:
    """Note that engines were built here.

    Args:
        fingerprint: The content of their fingerprint's file.
        engines: Where they lie, for people who look into the note.

    Raises:
        BackendError: The note cannot be written.
    """
    path = _note(fingerprint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, f"{engines.resolve()}\n".encode())
    except OSError as error:
        raise BackendError(
            f"cannot note in {path.parent} that the engines were built here ({reason(error)}): without it "
            "they run with trust_engines=True only; set XDG_STATE_HOME to a folder that can be written"
        ) from error


def is_trusted(fingerprint: bytes) -> bool:
    """Whether engines with this fingerprint were built here by this user."""
    return _note(fingerprint).is_file()


def _note(fingerprint: bytes) -> Path:
    return state_folder() / hashlib.sha256(fingerprint).hexdigest()
