from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmdrn_runtime.io.files import sync_folder, write_atomically


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=st.none() | st.binary(), after=st.binary())
def test_a_file_holds_exactly_what_was_written_last_and_lies_alone(tmp_path, before, after):
    path = tmp_path / "f"
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)
    write_atomically(path, after)
    assert path.read_bytes() == after
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [full, KeyboardInterrupt], ids=["disk full", "interrupted"])
def test_a_failure_before_the_file_is_complete_leaves_the_old_one_and_nothing_else(
    tmp_path, monkeypatch, step, error
):
    def fail(*_: object) -> None:
        if error is full:
            full()
        raise KeyboardInterrupt

    path = tmp_path / "f"
    path.write_bytes(b"old")
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError if error is full else KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_a_failure_where_there_was_no_file_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "f", b"new")
    assert names(tmp_path) == []


def test_content_is_on_the_disk_before_it_takes_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    path, steps = tmp_path / "f", []
    path.write_bytes(b"old")
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(handle: int) -> None:
        target = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append("folder" if target == tmp_path else f"content {target.read_bytes()!r}")
        fsync(handle)

    def spy_replace(self: Path, target: Path) -> Path:
        steps.append(f"rename to {Path(target).name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    write_atomically(path, b"new")
    assert steps == ["content b'new'", "rename to f", "folder"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see which files are open")
def test_no_file_stays_open(tmp_path, monkeypatch):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    write_atomically(tmp_path / "f", b"new")
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            write_atomically(tmp_path / "f", b"newer")
        sync_folder(tmp_path)  # file systems that cannot sync a folder are no reason to fail
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_an_error_means_that_the_file_is_as_it_was(tmp_path, monkeypatch):
    def only_files(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "this file system cannot sync folders")

    path = tmp_path / "f"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", only_files)
    try:
        write_atomically(path, b"new")
    except OSError:
        assert path.read_bytes() == b"old"
    else:
        assert path.read_bytes() == b"new"


def test_a_folder_that_is_missing_or_is_a_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "f", b"new")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NotADirectoryError):
        write_atomically(tmp_path / "file" / "f", b"new")
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_place_of_the_file_is_an_os_error_and_stays(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "f", b"new")
    assert names(tmp_path) == ["f"]


def test_a_relative_path_is_written_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomically(Path("f"), b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_writers_at_once_never_leave_a_mixture(tmp_path):
    path = tmp_path / "f"
    contents = [bytes([65 + i]) * 50_000 for i in range(4)]
    write_atomically(path, contents[0])
    errors: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(10):
                write_atomically(path, content)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        seen.add(path.read_bytes())
    for thread in threads:
        thread.join()
    assert not errors
    assert seen | {path.read_bytes()} <= set(contents)
    assert names(tmp_path) == ["f"]
