"""Record of a build whose engines were all refused: the same build again, minutes long, ends the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hmdrn_export.tensorrt.builder import BuildOptions
from hmdrn_export.tensorrt.profiles import ShapeBounds
from hmdrn_export.tensorrt.samples import Samples
from hmdrn_runtime.backends.tensorrt.fingerprint import Platform, find_binding
from hmdrn_runtime.backends.tensorrt.signature import digest_manifest
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.files import write_atomically
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

REFUSAL = "refusal.json"
FORMAT_VERSION = 1


def describe_build(
    bundle: Bundle,
    platform: Platform,
    options: BuildOptions,
    bounds: ShapeBounds,
    photographs: Samples | None,
) -> dict[str, Any]:
    """Return all that decides how a build ends, as values of JSON."""
    digest = None
    if photographs is not None:
        arrays = (photographs.support, photographs.queries, photographs.answers)
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return {
        "hmdrn": version("hmdrn"),
        "manifest": digest_manifest(bundle),
        **find_binding(platform),
        "workspace_mib": options.workspace_mib,
        "dla_core": options.dla_core,
        "bounds": {name: list(sizes) for name, sizes in asdict(bounds).items()},
        "photographs": digest,
    }


def record_refusal(folder: Path, build: Mapping[str, Any], reason: str) -> None:
    """Record in the engines' folder why a build kept no engines; the next engines there replace the record.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {"format_version": FORMAT_VERSION, "build": dict(build), "reason": reason}
    write_atomically(folder / REFUSAL, canonical_json(values).encode())


def find_refusal(folder: Path, build: Mapping[str, Any]) -> str | None:
    """Return why the same build kept no engines here; None if there was none, or anything has changed.

    A build that compares on no photographs is covered by one that did: the engines are the same.
    """
    path = folder / REFUSAL
    try:
        document = JsonObject.parse(path.read_bytes(), str(path), BackendError)
        if document.get("format_version", int) != FORMAT_VERSION:
            return None
        recorded, reason = document.get("build", dict), document.get("reason", str)
    except (OSError, BackendError):
        return None
    if build["photographs"] is None:
        recorded = {**recorded, "photographs": None}
    return reason if recorded == build else None
