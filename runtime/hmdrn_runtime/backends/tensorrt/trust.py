"""Trust in engines: an engine is native code, and a bundle may come from anywhere.

An engine runs if this user built it on this device, or vouches for it. `hmdrn build` records the SHA-256 of
the fingerprint, which has those of all engines, in the user's state folder, outside of every bundle: engines
that came with a bundle are not recorded there, whatever its files claim.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.files import describe_os_error, locate_state_folder, write_atomically


def locate_trust_folder() -> Path:
    """Return $XDG_STATE_HOME/hmdrn/engines, or ~/.local/state/hmdrn/engines without that variable."""
    return locate_state_folder("engines")


def trust(fingerprint: bytes, engines: Path) -> None:
    """Record that engines were built here.

    Args:
        fingerprint: The content of their fingerprint file.
        engines: Their folder, for people who read the record.

    Raises:
        BackendError: The record cannot be written.
    """
    path = _locate_record(fingerprint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, f"{engines.resolve()}\n".encode())
    except OSError as error:
        raise BackendError(
            f"cannot record in {path.parent} that the engines were built here ({describe_os_error(error)}): "
            "without it they run with trust_engines=True only; set XDG_STATE_HOME to a writable folder"
        ) from error


def is_trusted(fingerprint: bytes) -> bool:
    """Return True if this user built the engines with this fingerprint here."""
    return _locate_record(fingerprint).is_file()


def _locate_record(fingerprint: bytes) -> Path:
    return locate_trust_folder() / hashlib.sha256(fingerprint).hexdigest()
