"""Galleries under kills, full disks and several writers at once, with real processes and file systems."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hmdrn_runtime.bundle.manifest import Fusion, Level, Network
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import edit_gallery, load_gallery, previous_path, save_gallery
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics
from hmdrn_runtime.io.locking import file_lock, lock_path

KILLS = int(os.environ.get("HMDRN_KILLS", "20"))

# What the processes do: photos of fixed content under the real network, small enough for many runs.
WRITER = """
import sys
import numpy as np
import hmdrn

path, start = sys.argv[1], int(sys.argv[2])
birds = hmdrn.load("default", gallery=path, threads=1)
birds.enroll("warm up", np.zeros((84, 84, 3), np.uint8) + 9)  # loads the graphs
birds.forget("warm up")
print("ready", flush=True)
for turn in range(start, start + 100_000):
    # Two steps forward, one back: species come, grow and go.
    rng = np.random.default_rng(turn)
    if turn % 3 == 2:
        birds.forget(f"species {turn - 1}")
    else:
        birds.enroll(f"species {turn}", rng.integers(0, 256, (2, 84, 84, 3), dtype=np.uint8))
    birds.save_gallery(path)
    print(turn, flush=True)
"""


def process(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def contents(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Every species with its photos and the SHA-256 of their statistics."""
    return {
        label: [(p.digest, p.content) for _, p in sorted(s.photos.items())]
        for label, s in load_gallery(path).species.items()
    }


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def labels_after(turns: int) -> set[str]:
    """The species that are there after the first turns of the writer."""
    found: set[str] = set()
    for turn in range(turns):
        (found.discard if turn % 3 == 2 else found.add)(f"species {turn - (turn % 3 == 2)}")
    return found


@pytest.mark.slow
def test_a_process_killed_at_any_moment_leaves_the_old_or_new_gallery(tmp_path):
    """HMDRN_KILLS sets how often; 300 have been run."""
    import hmdrn

    path = tmp_path / "site.gallery"
    save_gallery(hmdrn.load("default", threads=1).gallery, path)
    known: dict[str, list[tuple[str, str]]] = {}
    rng, turn, inside = random.Random(0), 0, 0
    for _ in range(KILLS):
        writer = process(WRITER, path, turn)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n", writer.communicate()[1]
        time.sleep(rng.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        turns = [turn, *(int(line) + 1 for line in writer.communicate()[0].splitlines())]
        inside += lock_path(path).exists()
        found = contents(path)
        reached = [n for n in (turns[-1], turns[-1] + 1) if labels_after(n) == set(found)]
        assert reached, f"after {turns[-1]} turns: {sorted(found)}"
        for label, photos in found.items():
            assert known.setdefault(label, photos) == photos
        if previous_path(path).exists():
            contents(previous_path(path))
        turn = reached[0]
    # Else no kill has met a process that was writing, and the test says nothing.
    assert inside > 0
    save_gallery(load_gallery(path), path)
    assert not [name for name in names(tmp_path) if name.endswith((".part", ".lock"))]


ENROLLER = """
import sys
import numpy as np
import hmdrn

name, path, saves = sys.argv[1], sys.argv[2], int(sys.argv[3])
birds = hmdrn.load("default", threads=1)
rng = np.random.default_rng(len(name))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(saves):
    birds.enroll(f"{name} {turn}", rng.integers(0, 256, (84, 84, 3), dtype=np.uint8))
    birds.save_gallery(path)
"""


def test_species_that_several_processes_enroll_at_once_are_all_there(tmp_path):
    path, saves = tmp_path / "site.gallery", 6
    writers = [
        process(ENROLLER, name, path, saves, stdin=subprocess.PIPE) for name in ("moth", "beetle", "ant")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err
    found = load_gallery(path)
    expected = {f"{name} {turn}" for name in ("moth", "beetle", "ant") for turn in range(saves)}
    assert set(found) == expected
    # A slow machine also keeps the operators.
    assert set(names(tmp_path)) - {"site.gallery.operators"} == {"site.gallery", "site.gallery.previous"}


@pytest.mark.slow
def test_commands_that_enroll_at_once_lose_nothing_of_each_other(tmp_path, photos_of):
    path = tmp_path / "site.gallery"
    code = "import sys; from hmdrn._entry_points import main; sys.exit(main())"
    runs = [
        process(code, "enroll", "default", photos_of(name), "--gallery", path, "--threads", 1)
        for name in ("moth", "bee")
    ]
    for run in runs:
        assert run.wait(120) == 0, run.communicate()[1]
    assert set(load_gallery(path)) == {"moth", "bee"}


@pytest.fixture
def photos_of(tmp_path):
    """A folder with one species of one random photo."""
    import numpy as np
    from PIL import Image

    def make(name: str) -> Path:
        folder = tmp_path / f"photos of {name}" / name
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "a.png")
        return folder.parent

    return make


HOLDER = """
import sys, time
from pathlib import Path
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.io.locking import file_lock

with file_lock(Path(sys.argv[1]), "gallery", GalleryError):
    print("held", flush=True)
    time.sleep(600)
"""
NETWORK = Network(
    "ab" * 32, "conv4", "ridge", (Level("high", 3, 2),), Fusion({"high": 1.0}, 1.0, 6.0), "gram"
)


def photo(seed: int) -> PhotoStatistics:
    import numpy as np

    array = np.random.default_rng(seed).standard_normal(6).astype(np.float32)
    return PhotoStatistics(f"{seed:064x}", "fp32", {"support": array, "query": array})


def test_a_gallery_held_by_another_process_is_waited_for_then_named(tmp_path):
    path = tmp_path / "site.gallery"
    holder = process(HOLDER, path)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                GalleryError,
                match=rf"is being changed by process {holder.pid} on {re.escape(os.uname().nodename)} "
                r"\(-c .*site\.gallery\), for over 0\.2 s: try again when it is",
            ),
            edit_gallery(path, NETWORK, wait=0.2),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert lock_path(path).exists()
    with edit_gallery(path, NETWORK, wait=5) as gallery:
        gallery.add("moth", [photo(1)])
    assert set(load_gallery(path)) == {"moth"}
    assert not lock_path(path).exists()


def test_a_lock_held_by_the_same_process_says_so(tmp_path):
    path = tmp_path / "site.gallery"
    with (
        file_lock(path, "gallery", GalleryError),
        pytest.raises(GalleryError, match="by this very process"),
        file_lock(path, "gallery", GalleryError, timeout=0.05),
    ):
        pass


def test_an_edit_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "site.gallery"
    with edit_gallery(path, NETWORK) as gallery:
        gallery.add("moth", [photo(1)])
    before = path.read_bytes()

    def fail() -> None:
        with edit_gallery(path) as gallery:
            gallery.add("bee", [photo(2)])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == before
    with edit_gallery(path):
        pass
    assert names(tmp_path) == ["site.gallery"]


def test_editing_what_is_not_there_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(GalleryError, match="no gallery at"), edit_gallery(tmp_path / "site.gallery"):
        pass
    assert names(tmp_path) == []


def test_what_killed_processes_left_is_cleared_away_and_nothing_else(tmp_path):
    path = tmp_path / "site.gallery"
    for name in (".site.gallery.0a1b2c3d.part", ".other.gallery.0a1b2c3d.part", "site.gallery.part"):
        (tmp_path / name).write_bytes(b"half")
    save_gallery(Gallery(NETWORK), path)
    assert names(tmp_path) == [
        ".other.gallery.0a1b2c3d.part",
        "site.gallery",
        "site.gallery.part",
    ]


# --- File systems, real ones ------------------------------------------------------------------------------

SAVER = """
import sys
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.gallery.file import edit_gallery
sys.path.insert(0, sys.argv[2])
from test_file_processes import photo

try:
    with edit_gallery(sys.argv[1]) as gallery:
        gallery.add("much", [photo(i) for i in range(10, 2000)])
except GalleryError as error:
    print(error)
    sys.exit(7)
"""


def in_own_mounts(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount file systems, seen by itself alone."""
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs unshare and user namespaces")
    command = ["unshare", "-rm", "sh", "-ec", script, "sh", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("head -c 1m /dev/zero > /mnt/filling 2> /dev/null || true", "No space left on device"),
        ("mount -o remount,ro /mnt", "Read-only file system"),
    ],
)
def test_a_full_disk_and_a_read_only_one_leave_the_old_gallery_and_say_why(tmp_path, change, expected):
    path = tmp_path / "site.gallery"
    with edit_gallery(path, NETWORK) as gallery:
        gallery.add("moth", [photo(1)])
    done = in_own_mounts(
        f"""mount -t tmpfs -o size=256k none /mnt; cp "$1" /mnt/g; {change}
        "$2" -c "$3" /mnt/g "$4" && exit 9 || test $? = 7
        cmp "$1" /mnt/g; ls -A /mnt""",
        *(path, sys.executable, SAVER, Path(__file__).parent),
    )
    assert done.returncode == 0, done.stderr
    message, *left = done.stdout.splitlines()
    assert message.startswith("cannot write gallery /mnt/g: ")
    assert expected in message
    assert [name for name in left if name != "filling"] == ["g"]


def test_a_gallery_in_a_folder_that_may_not_be_written_stays_and_is_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    path = folder / "site.gallery"
    save_gallery(Gallery(NETWORK), path)
    before = path.read_bytes()
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; see the read-only file system")
    folder.chmod(0o555)
    try:
        with pytest.raises(GalleryError, match=r"cannot write gallery .*Permission denied"):
            save_gallery(Gallery(NETWORK, generation=3), path)
    finally:
        folder.chmod(0o755)
    assert path.read_bytes() == before


def test_a_gallery_behind_a_link_to_another_file_system_is_replaced_there(tmp_path):
    """A rename does not reach over file systems: the temporary file has to be where the gallery is."""
    path = tmp_path / "site.gallery"
    with edit_gallery(path, NETWORK) as gallery:
        gallery.add("moth", [photo(1)])
    done = in_own_mounts(
        """mount -t tmpfs none /mnt; cp "$1" /mnt/g; ln -s /mnt/g "$1.link"
        "$2" -c "$3" "$1.link" "$4"; test -L "$1.link"; ls -A /mnt; cmp "$1" /mnt/g.previous
        cp /mnt/g "$1"; ls -A "$(dirname "$1")" """,
        *(path, sys.executable, SAVER, Path(__file__).parent),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["g", "g.previous", "site.gallery", "site.gallery.link"]
    assert set(load_gallery(path)) == {"moth", "much"}


def test_a_file_that_is_a_mount_by_itself_is_left_and_the_error_says_so(tmp_path):
    """As containers mount single files: no rename can replace it."""
    path = tmp_path / "site.gallery"
    with edit_gallery(path, NETWORK) as gallery:
        gallery.add("moth", [photo(1)])
    done = in_own_mounts(
        """mount -t tmpfs none /mnt; cp "$1" /mnt/g; : > /mnt/h; mount --bind /mnt/g /mnt/h
        "$2" -c "$3" /mnt/h "$4" && exit 9 || test $? = 7
        cmp "$1" /mnt/h""",
        *(path, sys.executable, SAVER, Path(__file__).parent),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "cannot write gallery /mnt/h: Device or resource busy; the file stays as it was" in done.stdout
