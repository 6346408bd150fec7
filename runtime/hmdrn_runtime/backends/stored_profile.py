"""Stored profile of a bundle: how fast its variants are on this machine, which overrules the rule of thumb.

`hmdrn profile BUNDLE --save` writes it to this user's state folder; the choice of the variant reads it. It
counts for the same bundle, CPU, ONNX Runtime and backend only. Anything else in its place is ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.device.cpu import read_cpu
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error, locate_state_folder, write_atomically
from hmdrn_runtime.io.json_document import JsonObject

_SCHEMA = "hmdrn.stored-profile/1"
_MAX_BYTES = 16_384


@dataclass(frozen=True)
class StoredProfile:
    """Times of a bundle's variants on this machine.

    Attributes:
        milliseconds: Median from a camera's frame to its prediction, by variant; empty if none are stored.
        measured_at: Date and time of the measurement, ISO 8601 in UTC.
        issue: Reason why the file that is there is ignored; None without a file, or if it counts.
    """

    milliseconds: Mapping[str, float] = field(default_factory=dict)
    measured_at: str = ""
    issue: str | None = None


def locate_profile(bundle: Bundle, backend: str) -> Path:
    """Return the file of a bundle's stored profile, which need not exist.

    Raises:
        RuntimeError: The user has no home.
    """
    return locate_state_folder("profiles") / f"{_compute_digest(bundle)[:32]}-{backend}.json"


def save_profile(bundle: Bundle, backend: str, milliseconds: Mapping[str, float]) -> Path:
    """Store the times of a bundle's variants, in place of earlier ones, and return the file.

    Raises:
        HmdrnError: The file cannot be written.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    values = {**_make_key(bundle, backend), "measured_at": now, "milliseconds": dict(milliseconds)}
    try:
        path = locate_profile(bundle, backend)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, f"{json.dumps(values, indent=1)}\n".encode())
    except (OSError, RuntimeError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else error
        raise HmdrnError(
            f"cannot store the profile ({reason}): set XDG_STATE_HOME to a writable folder"
        ) from error
    return path


def load_profile(bundle: Bundle, backend: str) -> StoredProfile:
    """Return the stored profile of a bundle; without times if there is none that counts here."""
    try:
        with locate_profile(bundle, backend).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return StoredProfile()
    except (OSError, RuntimeError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else error
        return StoredProfile(issue=f"it cannot be read ({reason})")
    try:
        if len(data) > _MAX_BYTES:
            return StoredProfile(issue=f"it is damaged, with over {_MAX_BYTES} bytes")
        values = JsonObject.parse(data, "it", HmdrnError)
        for name, value in _make_key(bundle, backend).items():
            if values.values.get(name) != value:
                return StoredProfile(issue=f"it is of another {name}: {values.values.get(name)!s:.120}")
        times = values.child("milliseconds")
        milliseconds = {name: times.get(name, float) for name in times.values}
        if not milliseconds or min(milliseconds.values()) <= 0:
            return StoredProfile(issue="it is damaged: times must be above 0")
        return StoredProfile(milliseconds, values.get("measured_at", str))
    except HmdrnError as error:
        return StoredProfile(issue=str(error))


def _make_key(bundle: Bundle, backend: str) -> dict[str, object]:
    from hmdrn_runtime.backends.ort import ort

    cpu = read_cpu()
    return {
        "schema": _SCHEMA,
        "bundle": _compute_digest(bundle),
        "backend": backend,
        "ONNX Runtime": ort.__version__,
        "CPU": {"model": cpu.model, "architecture": cpu.architecture, "features": list(cpu.features)},
    }


def _compute_digest(bundle: Bundle) -> str:
    files = json.dumps(sorted(bundle.manifest.files.items()))
    return hashlib.sha256(files.encode()).hexdigest()
