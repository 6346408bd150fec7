"""Files that several users share: what a save keeps, whatever the umask of who saves."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from users import ALICE, BIRDS, BOB, as_root, make_shared_folder, run_as

from hmdrn_runtime.io.files import write_atomically
from hmdrn_runtime.io.permissions import copy_permissions, open_private

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes and groups")


@pytest.fixture(params=[0o077, 0o022, 0o002], ids=oct)
def umask(request) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def shared() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o711)
        yield make_shared_folder(Path(folder) / "site")


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o444])
def test_a_replaced_file_keeps_its_mode(tmp_path, umask, kept):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(kept)
    write_atomically(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", kept)


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path, umask):
    write_atomically(tmp_path / "f", b"new")
    assert mode(tmp_path / "f") == 0o666 & ~umask


def test_a_new_file_beside_a_private_one_is_as_private(tmp_path, umask):
    (tmp_path / "gallery").touch(0o600)
    write_atomically(tmp_path / "gallery.operators", b"new", like=tmp_path / "gallery")
    assert mode(tmp_path / "gallery.operators") == 0o600


def test_a_new_private_file_is_private_and_one_that_is_there_keeps_its_mode(tmp_path, umask):
    (tmp_path / "shared").touch()
    (tmp_path / "shared").chmod(0o644)
    for name in ("new", "shared"):
        with open_private(tmp_path / name) as file:
            file.write(b"picture")
    assert (mode(tmp_path / "new"), mode(tmp_path / "shared")) == (0o600, 0o644)


def test_content_of_a_private_file_is_never_readable_by_others(tmp_path):
    path, seen = tmp_path / "f", []
    path.touch(0o600)

    def pieces() -> Iterator[bytes]:
        seen.extend(mode(part) for part in tmp_path.iterdir())
        yield b"new"

    write_atomically(path, pieces())
    assert seen == [0o600, 0o600]


@as_root
def test_root_keeps_the_owner_and_a_member_of_the_group_the_group(shared, umask):
    path = shared / "f"
    run_as(ALICE, lambda: path.write_bytes(b"old"))
    os.chown(path, ALICE, BIRDS)
    path.chmod(0o660)
    write_atomically(path, b"of root")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (ALICE, BIRDS, 0o660)
    run_as(BOB, lambda: write_atomically(path, b"of bob"))
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (BOB, BIRDS, 0o660)


@as_root
def test_who_cannot_give_the_group_gives_no_rights_to_the_own_one(shared):
    shared.chmod(0o777)
    path = shared / "f"
    path.write_bytes(b"old")
    os.chown(path, ALICE, BIRDS)
    path.chmod(0o664)
    run_as(BOB, lambda: write_atomically(path, b"new"), groups=())
    assert (path.stat().st_gid, mode(path)) == (BOB, 0o644)


def test_a_missing_source_changes_nothing(tmp_path):
    path = tmp_path / "f"
    path.touch(0o640)
    copy_permissions(tmp_path / "none", path)
    copy_permissions(path, tmp_path / "none")
    assert mode(path) == 0o640
