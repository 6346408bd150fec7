"""Two users of one machine, played by root in processes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ALICE, BOB, BIRDS = 54_321, 54_322, 54_400
"""Two users, each of a group of the same number, and a group of both; the system need not know them."""

as_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root acts as others")


def start_as(user: int, work: Callable[[], object], groups: tuple[int, ...] = (BIRDS,)) -> int:
    """Start some work in a process of a user, and return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setgroups(groups)
        os.setgid(user)
        os.setuid(user)
        work()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def run_as(user: int, work: Callable[[], object], groups: tuple[int, ...] = (BIRDS,)) -> None:
    """Run some work in a process of a user; an exception there is a failure here."""
    assert os.waitstatus_to_exitcode(os.waitpid(start_as(user, work, groups), 0)[1]) == 0


def make_shared_folder(path: Path) -> Path:
    """Make a folder of Alice and the group, without the bit that passes the group on to new files."""
    path.mkdir()
    try:
        os.chown(path, ALICE, BIRDS)
    except OSError as error:
        pytest.skip(f"other users are not known here: {error}")
    path.chmod(0o770)
    return path
