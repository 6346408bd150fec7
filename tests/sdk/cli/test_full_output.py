"""Commands whose output has nowhere to go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full"
)
COMMAND = [sys.executable, "-m", "hmdrn"]


@pytest.mark.parametrize(
    "arguments", [["inspect", "default"], ["inspect", "default", "--json"], ["--help"]], ids=" ".join
)
def test_a_full_disk_under_the_output_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("hmdrn: cannot write the output: No space left on device")
    assert done.stderr.count("\n") == 1


def test_a_reader_who_has_seen_enough_is_no_error():
    with subprocess.Popen(
        [*COMMAND, "inspect", "default"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        command.stdout.close()
        assert (command.stderr.read(), command.wait()) == ("", 0)


def test_what_is_wrong_is_told_by_the_exit_code_where_it_cannot_be_printed():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "inspect", "nothing"], stdout=subprocess.PIPE, stderr=full)
    assert (done.returncode, done.stdout) == (2, b"")
