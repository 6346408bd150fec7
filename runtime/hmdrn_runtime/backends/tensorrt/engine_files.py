"""A bundle's engines as files: found, compared with the device and checked before any is deserialised."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform
from hmdrn_runtime.backends.tensorrt.trust import is_trusted
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.files import reason

ENGINES = "engines"
FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class EngineFiles:
    """Engines that may run here.

    Attributes:
        folder: Where they lie.
        fingerprint: What they are for.
    """

    folder: Path
    fingerprint: Fingerprint

    def plan(self, graph: str) -> bytes:
        """The engine of a graph: the very bytes whose digest was checked.

        Raises:
            BackendError: It is missing, or not the one that was built.
        """
        path = self.folder / f"{graph}.plan"
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise BackendError(f"cannot read engine {path} ({reason(error)})") from error
        found, expected = hashlib.sha256(plan).hexdigest(), self.fingerprint.plans[graph]
        if found != expected:
            raise BackendError(
                f"engine {path} was changed or damaged: its SHA-256 is {found[:12]}..., its fingerprint says "
                f"{expected[:12]}..."
            )
        return plan


def find_engines(bundle: Bundle, platform: Platform, trusted: bool = False) -> EngineFiles:
    """The engines of a bundle that fit this device, every one checked.

    Args:
        bundle: The bundle; its variant does not matter, the engines tell theirs.
        platform: What runs them.
        trusted: Whether the caller vouches for engines that were not built here.

    Returns:
        The first that fit.

    Raises:
        BackendError: None, or each has something against it; the message says what, and what to run.
    """
    check_engines(bundle)
    refusals = []
    for path in _fingerprints(bundle):
        try:
            return _checked(bundle, path, platform, trusted)
        except BackendError as error:
            refusals.append(str(error))
    raise BackendError(f"{'; '.join(refusals)}: run {build_command(bundle)}")


def check_engines(bundle: Bundle) -> None:
    """Look whether a bundle has engines of any kind.

    Raises:
        BackendError: It has none.
    """
    if not _fingerprints(bundle):
        raise BackendError(f"the bundle has no engines (run {build_command(bundle)})")


def build_command(bundle: Bundle) -> str:
    """The command that builds a bundle's engines."""
    return f"hmdrn build {shlex.quote(str(bundle.path))}"


def _fingerprints(bundle: Bundle) -> list[Path]:
    return sorted((bundle.path / ENGINES).glob(f"*/{FINGERPRINT}"))


def _checked(bundle: Bundle, path: Path, platform: Platform, trusted: bool) -> EngineFiles:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BackendError(f"cannot read {path} ({reason(error)})") from error
    fingerprint = Fingerprint.from_json(text, str(path))
    differences = list(fingerprint.differences(platform, bundle.manifest))
    if differences:
        raise BackendError(f"engines in {path.parent} do not fit: {', '.join(differences)}")
    if not trusted and not is_trusted(text):
        raise BackendError(
            f"engines in {path.parent} were not built here, or their {FINGERPRINT} was changed, and an "
            "engine is native code: build them here, or pass trust_engines=True if you trust their maker"
        )
    files = EngineFiles(path.parent, fingerprint)
    for graph in fingerprint.plans:
        files.plan(graph)
    return files
