"""Keys of a fleet, and signatures of the engines that one of its devices built."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hmdrn_runtime.backends.tensorrt.engine_files import FINGERPRINT
from hmdrn_runtime.backends.tensorrt.signature import (
    EXTRA,
    FORMAT_VERSION,
    SIGNATURE,
    digest_manifest,
    make_signed_message,
)
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError, MissingDependencyError
from hmdrn_runtime.io.files import describe_os_error, expand_path, write_atomically
from hmdrn_runtime.io.json_document import canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def create_key_pair(path: Path) -> Path:
    """Write a new private key, PEM that its owner alone can read, and its public key to NAME.pub beside it.

    Returns:
        The file of the public key.

    Raises:
        BackendError: A file exists already, or cannot be written.
        MissingDependencyError: The package cryptography is not installed.
    """
    key_class = _import_key_class()
    from cryptography.hazmat.primitives import serialization

    path = expand_path(path, BackendError)
    key, public = key_class.generate(), Path(f"{path}.pub")
    private_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_text = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for file in (path, public):
        if file.is_dir():
            raise BackendError(f"{file} is a folder: give the name of a new file")
        if file.exists():
            raise BackendError(f"{file} exists already: devices may trust its key, so give another name")
    for file, text, mode in ((path, private_text, 0o600), (public, public_text, 0o666)):
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as target:
                target.write(text)
        except OSError as error:
            raise BackendError(f"cannot write the key {file} ({describe_os_error(error)})") from error
    return public


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        BackendError: It cannot be read, or is not an Ed25519 key without a passphrase in PEM.
        MissingDependencyError: The package cryptography is not installed.
    """
    key_class = _import_key_class()
    path = expand_path(path, BackendError)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise BackendError(f"cannot read the key {path} ({describe_os_error(error)})") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, key_class):
        raise BackendError(
            f"{path} is not a private Ed25519 key in PEM without a passphrase: make one with hmdrn keygen"
        )
    return key


def sign_engines(bundle: Bundle, folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign a bundle's engines, so that devices that trust the key run them.

    Args:
        bundle: The bundle.
        folder: The engines' folder, which gets the signature.
        key: The fleet's private key.

    Raises:
        BackendError: A file cannot be read or written.
    """
    try:
        manifest = digest_manifest(bundle)
        signature = key.sign(make_signed_message((folder / FINGERPRINT).read_bytes(), manifest))
        values = {
            "format_version": FORMAT_VERSION,
            "public_key": key.public_key().public_bytes_raw().hex(),
            "manifest": manifest,
            "signature": signature.hex(),
        }
        write_atomically(folder / SIGNATURE, canonical_json(values).encode())
    except OSError as error:
        raise BackendError(f"cannot sign the engines in {folder} ({describe_os_error(error)})") from error


def _import_key_class() -> type[Ed25519PrivateKey]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise MissingDependencyError("cryptography", "signing engines", EXTRA) from error
    return Ed25519PrivateKey
