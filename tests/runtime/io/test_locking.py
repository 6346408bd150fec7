"""A lock between users of a group, whatever their umasks, and after a holder was killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from users import ALICE, BIRDS, BOB, as_root, make_shared_folder, run_as, start_as

from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.locking import file_lock, lock_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes and groups")


def take(path: Path, timeout: float = 5.0) -> None:
    with file_lock(path, "gallery", HmdrnError, timeout):
        pass


@pytest.fixture
def shared() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o711)
        yield make_shared_folder(Path(folder) / "site")


@pytest.fixture
def hold():
    """Hold a lock as a user, for ever."""
    started: list[int] = []

    def start(user: int, path: Path, groups: tuple[int, ...] = (BIRDS,)) -> int:
        ready, done = os.pipe()

        def work() -> None:
            os.umask(0o077)
            sys.argv = ["/opt/hmdrn/__main__.py", "watch", "--source", "rtsp://keeper:s3cret@h/x"]
            with file_lock(path, "gallery", HmdrnError):
                os.write(done, b".")
                time.sleep(600)

        started.append(start_as(user, work, groups))
        os.close(done)
        assert os.read(ready, 1) == b"."
        os.close(ready)
        return started[-1]

    yield start
    for process in started:
        kill(process)


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


@pytest.mark.parametrize(
    ("folder", "lock"), [(0o700, 0o600), (0o770, 0o660), (0o755, 0o644), (0o1777, 0o666)]
)
@pytest.mark.parametrize("umask", [0o077, 0o022], ids=oct)
def test_whoever_may_write_in_the_folder_may_take_its_locks(tmp_path, folder, lock, umask):
    (tmp_path / "site").mkdir()
    (tmp_path / "site").chmod(folder)
    before = os.umask(umask)
    try:
        with file_lock(tmp_path / "site" / "g", "gallery", HmdrnError):
            assert stat.S_IMODE(lock_path(tmp_path / "site" / "g").stat().st_mode) == lock
    finally:
        os.umask(before)


@as_root
def test_another_user_of_the_group_waits_and_reads_who_holds_the_lock(shared, hold):
    path = shared / "g"
    holder = hold(ALICE, path)

    def refused() -> None:
        with pytest.raises(HmdrnError) as refusal:
            take(path, 0.1)
        host = os.uname().nodename
        expected = f"process {holder} on {host} (hmdrn watch --source rtsp://***@h/x), for over 0.1 s"
        assert f"gallery {path} is being changed by {expected}" in str(refusal.value), refusal.value

    run_as(BOB, refused)
    kill(holder)
    assert lock_path(path).exists()
    run_as(BOB, lambda: take(path))
    assert not lock_path(path).exists()


@as_root
@pytest.mark.parametrize("first", [ALICE, BOB])
def test_a_lock_of_a_killed_holder_is_taken_in_a_folder_for_everybody(shared, hold, first):
    """There only its owner may delete it."""
    shared.chmod(0o1777)
    kill(hold(first, shared / "g", groups=()))
    other = BOB if first == ALICE else ALICE
    for user in (other, first, other):
        run_as(user, lambda: take(shared / "g"), groups=())


@as_root
def test_the_lock_of_a_killed_holder_who_was_root_is_taken(shared, hold):
    shared.chmod(0o755)
    kill(hold(0, shared / "g"))
    run_as(ALICE, lambda: take(shared / "g"))
    assert not lock_path(shared / "g").exists()


@as_root
def test_a_lock_that_may_not_be_opened_is_waited_for_then_explained(shared):
    path = shared / "g"
    lock_path(path).touch(0o600)
    os.chown(lock_path(path), BOB, BOB)

    def refused() -> None:
        with pytest.raises(
            HmdrnError, match=r"whose lock .*g\.lock cannot be read \(delete it if that process"
        ):
            take(path, 0.1)

    run_as(ALICE, refused)
    lock_path(path).unlink()
    run_as(ALICE, lambda: take(path))


@as_root
def test_a_folder_in_which_nobody_may_write_is_refused_at_once(shared):
    shared.chmod(0o555)

    def refused() -> None:
        with pytest.raises(HmdrnError, match=r"its lock g\.lock cannot be made \(Permission denied\)"):
            take(shared / "g", 60)

    run_as(BOB, refused)


@pytest.mark.parametrize("content", ["", "7", "[1, 2]", json.dumps([1, "\x1b[2J", "a\nb"]), "\0", "[" * 9999])
def test_a_damaged_lock_of_another_process_is_named_in_one_plain_line(tmp_path, content):
    path = tmp_path / "g"
    with file_lock(path, "gallery", HmdrnError):
        lock_path(path).write_text(content)
        with pytest.raises(HmdrnError, match="is being changed by") as refusal:
            take(path, 0.01)
    assert str(refusal.value).isprintable()
