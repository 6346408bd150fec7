"""Signatures of engines, Ed25519: devices of a fleet run the engines that one of them built."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, Bundle
from hmdrn_runtime.errors import BackendError, format_install_hint
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE = "signature.json"
FORMAT_VERSION = 1
ENVIRONMENT = "HMDRN_TRUSTED_KEYS"
EXTRA = "fleet"

TrustedKeys: TypeAlias = Sequence[str | os.PathLike[str]]
"""Files of public keys, PEM."""


def list_trusted_keys(keys: TrustedKeys | None) -> tuple[Path, ...]:
    """Return the files of trusted keys: those given, or if None those of HMDRN_TRUSTED_KEYS."""
    if keys is None:
        keys = [path for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]
    elif isinstance(keys, (str, os.PathLike)):
        keys = [keys]
    return tuple(Path(key).expanduser() for key in keys)


def make_signed_message(fingerprint: bytes, manifest: str) -> bytes:
    """Return the bytes that a signature is of.

    Args:
        fingerprint: Content of the engines' fingerprint file, which has the SHA-256 of each engine.
        manifest: SHA-256 of the bundle's manifest, which has that of each of its files.
    """
    values = {
        "signed": "hmdrn engines",
        "format_version": FORMAT_VERSION,
        "fingerprint": hashlib.sha256(fingerprint).hexdigest(),
        "manifest": manifest,
    }
    return canonical_json(values).encode()


def digest_manifest(bundle: Bundle) -> str:
    """Return the SHA-256 of a bundle's manifest."""
    return hashlib.sha256((bundle.path / MANIFEST_NAME).read_bytes()).hexdigest()


def check_signature(bundle: Bundle, folder: Path, fingerprint: bytes, keys: Sequence[Path]) -> None:
    """Check that one of the keys signed a bundle's engines.

    Args:
        bundle: The bundle.
        folder: The engines' folder, which holds the signature.
        fingerprint: Content of their fingerprint file.
        keys: Files of the trusted public keys.

    Raises:
        BackendError: It did not; the message says why, as the end of a sentence about the engines.
    """
    path = folder / SIGNATURE
    try:
        document = JsonObject.parse(path.read_bytes(), str(path), BackendError)
    except FileNotFoundError as error:
        raise BackendError(f"are not signed (hmdrn build --sign writes {SIGNATURE})") from error
    except OSError as error:
        raise BackendError(f"their {SIGNATURE} cannot be read ({describe_os_error(error)})") from error
    version = document.get("format_version", int)
    if version != FORMAT_VERSION:
        raise BackendError(f"their {SIGNATURE} has format version {version}, this SDK reads {FORMAT_VERSION}")
    signer, manifest = document.get("public_key", str), document.get("manifest", str)
    trusted = {key.public_bytes_raw().hex(): key for key in map(_read_public_key, keys)}
    if signer not in trusted:
        others = ", ".join(f"{name[:12]}..." for name in trusted)
        raise BackendError(f"are signed with the key {signer[:12]}..., which is not trusted here: {others}")
    if manifest != digest_manifest(bundle):
        raise BackendError(f"were signed for a bundle with another {MANIFEST_NAME}")
    from cryptography.exceptions import InvalidSignature

    try:
        signature = bytes.fromhex(document.get("signature", str))
        trusted[signer].verify(signature, make_signed_message(fingerprint, manifest))
    except (InvalidSignature, ValueError) as error:
        raise BackendError(
            "their signature is of other engines: the fingerprint or the signature was changed"
        ) from error


def _read_public_key(path: Path) -> Ed25519PublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise BackendError(
            f"their signature cannot be checked without the package 'cryptography': "
            f"{format_install_hint(EXTRA)}"
        ) from error
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise BackendError(f"the trusted key {path} cannot be read ({describe_os_error(error)})") from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BackendError(
            f"the trusted key {path} is not a public Ed25519 key in PEM: give the file NAME.pub that hmdrn "
            "keygen wrote"
        )
    return key
