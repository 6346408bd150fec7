"""Engines signed on one device run on others of its kind, and nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hmdrn.loading import resolve_bundle
from hmdrn_export.tensorrt.signing import create_key_pair, read_signing_key, sign_engines
from hmdrn_runtime.backends.tensorrt.engine_files import FINGERPRINT, find_engines
from hmdrn_runtime.backends.tensorrt.fingerprint import Fingerprint, Platform, select_digests
from hmdrn_runtime.backends.tensorrt.signature import SIGNATURE, make_signed_message
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.errors import BackendError

pytest.importorskip("cryptography", reason="needs cryptography: the extra fleet")

RELEASE = "R36 (release), REVISION: 4.3, GCID: 38968081, KERNEL_VARIANT: oot, DATE: Wed Jan  8 2025"
BUILDER = Platform("Orin (nvgpu)", "8.7", "tensorrt 10.3.0", RELEASE, 8)
OTHER = dataclasses.replace(
    BUILDER, l4t="R36 (release), REVISION: 4.7, GCID: 42132812, DATE: Thu Sep 18 2025"
)


@pytest.fixture(scope="module")
def manifest():
    return open_bundle(resolve_bundle("default"))


@pytest.fixture
def fleet(manifest, tmp_path, monkeypatch):
    """A bundle whose engines another device built and signed, and the fleet's keys."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("HMDRN_TRUSTED_KEYS", raising=False)
    path = tmp_path / "birds.hmdrn"
    folder = path / "engines" / "orin"
    folder.mkdir(parents=True)
    shutil.copy(manifest.path / MANIFEST_NAME, path)
    bundle = dataclasses.replace(manifest, path=path)
    plans = {name: f"native code of {name}".encode() for name in bundle.manifest.variants["fp32"]}
    for name, plan in plans.items():
        (folder / f"{name}.plan").write_bytes(plan)

    def write(check):
        fingerprint = Fingerprint(
            BUILDER,
            "fp32",
            "fp32",
            select_digests(bundle.manifest, "fp32"),
            {"tf32": False},
            {name: hashlib.sha256(plan).hexdigest() for name, plan in plans.items()},
            check,
        )
        (folder / FINGERPRINT).write_bytes(fingerprint.to_json().encode())
        sign_engines(bundle, folder, read_signing_key(private))

    private = tmp_path / "fleet.pem"
    public = create_key_pair(private)
    write({"distance_error": 0.0})
    return SimpleNamespace(bundle=bundle, folder=folder, public=public, private=private, write=write)


def refused(fleet, match, platform=OTHER, keys=None):
    with pytest.raises(BackendError, match=match) as caught:
        find_engines(fleet.bundle, platform, trusted_keys=[fleet.public] if keys is None else keys)
    assert "\n" not in str(caught.value)
    assert f"hmdrn build {fleet.bundle.path}" in str(caught.value)


def test_engines_signed_on_one_device_run_on_another_of_its_kind(fleet, tmp_path, monkeypatch):
    assert find_engines(fleet.bundle, OTHER, trusted_keys=[fleet.public]).read_plan("solve")
    other = create_key_pair(tmp_path / "other.pem")
    monkeypatch.setenv("HMDRN_TRUSTED_KEYS", f"{other}:{fleet.public}")
    assert find_engines(fleet.bundle, OTHER).folder == fleet.folder
    refused(fleet, "were not built here, or", keys=[])  # an empty list trusts none, whatever the environment


def test_engines_signed_with_another_key_are_refused(fleet, tmp_path):
    other = create_key_pair(tmp_path / "other.pem")
    refused(
        fleet, r"not built here, and are signed with the key \w{12}..., which is not trusted", keys=[other]
    )


def test_unsigned_engines_are_refused(fleet):
    (fleet.folder / SIGNATURE).unlink()
    refused(fleet, r"not built here, and are not signed \(hmdrn build --sign")


def test_a_changed_byte_of_a_signed_engine_is_refused(fleet):
    plan = fleet.folder / "solve.plan"
    plan.write_bytes(plan.read_bytes().replace(b"native", b"Native"))
    refused(fleet, "solve.plan was changed or damaged")


def test_a_fingerprint_changed_to_fit_the_engines_is_refused(fleet):
    """Whoever changes an engine can write its digest, and not sign it."""
    path = fleet.folder / FINGERPRINT
    values = json.loads(path.read_bytes())
    (fleet.folder / "solve.plan").write_bytes(b"other native code")
    values["plans"]["solve"] = hashlib.sha256(b"other native code").hexdigest()
    path.write_text(json.dumps(values))
    refused(fleet, "their signature is of other engines")


@pytest.mark.parametrize(
    ("part", "value", "match"),
    [
        ("gpu", "NVIDIA Thor", "built for GPU Orin .nvgpu., here is NVIDIA Thor"),
        ("compiler", "tensorrt 10.16.0", "built for compiler tensorrt 10.3.0, here is tensorrt 10.16.0"),
        ("l4t", "R36 (release), REVISION: 5.0, GCID: 1", "built for L4T 36.4, here is 36.5"),
        ("multiprocessors", 16, "are for a GPU with 8 multiprocessors, not 16"),
    ],
)
def test_signed_engines_for_another_device_are_refused(fleet, part, value, match):
    refused(fleet, match, dataclasses.replace(OTHER, **{part: value}))


def test_engines_signed_in_another_bundle_are_refused(fleet):
    manifest = fleet.bundle.path / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + b" ")
    refused(fleet, "were signed for a bundle with another manifest.json")


def test_signed_engines_that_were_never_compared_are_refused(fleet):
    fleet.write(None)
    refused(fleet, "were never compared with ONNX Runtime")


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("signature", "00" * 64, "their signature is of other engines"),
        ("signature", "no hex", "their signature is of other engines"),
        ("signature", 5, "'signature' is int, expected str"),
        ("format_version", 2, "has format version 2, this SDK reads 1"),
    ],
)
def test_a_damaged_signature_is_refused(fleet, key, value, match):
    path = fleet.folder / SIGNATURE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), key: value}))
    refused(fleet, match)


@pytest.mark.parametrize("name", ["keys", "."])
def test_keys_are_not_written_over_a_folder(tmp_path, monkeypatch, name):
    (tmp_path / "keys").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match="is a folder: give the name of a new file"):
        create_key_pair(Path(name))
    assert list(tmp_path.rglob("*")) == [tmp_path / "keys"]


def test_keys_may_be_in_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert create_key_pair(Path("~/fleet.pem")) == tmp_path / "fleet.pem.pub"
    read_signing_key(Path("~/fleet.pem"))


def test_a_key_file_that_cannot_be_used_is_named(fleet, tmp_path):
    for path in (fleet.private, tmp_path / "engines"):
        path.touch()
        refused(fleet, f"the trusted key {path} is not a public Ed25519 key", keys=[path])
    refused(fleet, "the trusted key .*missing.pub cannot be read", keys=[tmp_path / "missing.pub"])
    with pytest.raises(BackendError, match=r"fleet.pem.pub is not a private Ed25519 key"):
        read_signing_key(fleet.public)
    with pytest.raises(BackendError, match=r"fleet.pem exists already"):
        create_key_pair(fleet.private)
    assert fleet.private.stat().st_mode & 0o777 == 0o600


def test_without_the_extra_one_line_names_it(fleet, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    refused(fleet, "cannot be checked without the package 'cryptography': install hmdrn's extra 'fleet'")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_accepts_the_signature(fleet, tmp_path):
    values = json.loads((fleet.folder / SIGNATURE).read_bytes())
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(make_signed_message((fleet.folder / FINGERPRINT).read_bytes(), values["manifest"]))
    signature.write_bytes(bytes.fromhex(values["signature"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", fleet.public, "-rawin"]
    done = subprocess.run([*command, "-in", message, "-sigfile", signature], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
