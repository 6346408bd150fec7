"""Files of a bundle's engines: found, compared with the device and checked before any is deserialized."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform
from hmdrn_runtime.backends.tensorrt.signature import TrustedKeys, check_signature, list_trusted_keys
from hmdrn_runtime.backends.tensorrt.trust import is_trusted
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.io.files import describe_os_error

ENGINES = "engines"
FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class EngineFiles:
    """Engines that may run here.

    Attributes:
        folder: The folder that holds them.
        fingerprint: The device and graphs that they were built for.
    """

    folder: Path
    fingerprint: Fingerprint

    def read_plan(self, graph: str) -> bytes:
        """Return the engine of a graph, as the very bytes whose digest was checked.

        Raises:
            BackendError: It is missing, or is not the one that was built.
        """
        path = self.folder / f"{graph}.plan"
        plan = _read_bytes(path, f"engine {path}")
        digest, expected = hashlib.sha256(plan).hexdigest(), self.fingerprint.plans[graph]
        if digest != expected:
            raise BackendError(
                f"engine {path} was changed or damaged: its SHA-256 is {digest[:12]}..., its fingerprint "
                f"says {expected[:12]}..."
            )
        return plan


def find_engines(
    bundle: Bundle, platform: Platform, trusted: bool = False, trusted_keys: TrustedKeys | None = None
) -> EngineFiles:
    """Return the first engines of a bundle that fit this device, every one checked.

    Args:
        bundle: The bundle; its variant does not matter, because the fingerprint names the engines' variant.
        platform: The platform that runs them.
        trusted: The caller vouches for engines that were not built here.
        trusted_keys: Files of public keys whose engines run here too; those of the environment if None.

    Raises:
        BackendError: No engines fit; the message says why and names the command to run.
    """
    require_engines(bundle)
    keys = list_trusted_keys(trusted_keys)
    refusals = []
    for path in _list_fingerprints(bundle):
        try:
            return _check_folder(bundle, path, platform, trusted, keys)
        except BackendError as error:
            refusals.append(str(error))
    raise BackendError(f"{'; '.join(refusals)}: run {format_build_command(bundle)}")


def require_engines(bundle: Bundle) -> None:
    """Raise BackendError if the bundle has no engines of any kind."""
    if not _list_fingerprints(bundle):
        raise BackendError(f"the bundle has no engines (run {format_build_command(bundle)})")


def format_build_command(bundle: Bundle) -> str:
    """Return the command that builds a bundle's engines."""
    return f"hmdrn build {shlex.quote(str(bundle.path))}"


def _list_fingerprints(bundle: Bundle) -> list[Path]:
    return sorted((bundle.path / ENGINES).glob(f"*/{FINGERPRINT}"))


def _check_folder(
    bundle: Bundle, path: Path, platform: Platform, trusted: bool, keys: tuple[Path, ...]
) -> EngineFiles:
    text = _read_bytes(path, str(path))
    fingerprint = Fingerprint.from_json(text, str(path))
    differences = list(fingerprint.find_differences(platform, bundle.manifest))
    if differences:
        raise BackendError(f"engines in {path.parent} do not fit: {', '.join(differences)}")
    if not trusted and not is_trusted(text):
        if not keys:
            raise BackendError(
                f"engines in {path.parent} were not built here, or their {FINGERPRINT} was changed, and an "
                "engine is native code: build them here, or pass trust_engines=True if you trust their maker"
            )
        if reason := _find_distrust(bundle, path.parent, fingerprint, text, platform, keys):
            raise BackendError(f"engines in {path.parent} were not built here, and {reason}")
    if not trusted and fingerprint.check is None:
        raise BackendError(
            f"engines in {path.parent} were never compared with ONNX Runtime: build them again, or pass "
            "trust_engines=True"
        )
    files = EngineFiles(path.parent, fingerprint)
    for graph in fingerprint.plans:
        files.read_plan(graph)
    return files


def _find_distrust(
    bundle: Bundle,
    folder: Path,
    fingerprint: Fingerprint,
    text: bytes,
    platform: Platform,
    keys: tuple[Path, ...],
) -> str | None:
    """Return why engines of another device must not run here; None if a trusted key signed them."""
    try:
        check_signature(bundle, folder, text, keys)
    except BackendError as error:
        return str(error)
    built, here = fingerprint.platform.multiprocessors, platform.multiprocessors
    if built != here and None not in (built, here):
        return f"are for a GPU with {built} multiprocessors, not {here}"
    return None


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackendError(f"cannot read {name} ({describe_os_error(error)})") from error
