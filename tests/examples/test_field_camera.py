from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hmdrn.cli.main import cli, run
from hmdrn_runtime.specimens.drawing import draw_specimen

PROGRAM = "/opt/hmdrn/bin/hmdrn"


@pytest.fixture(scope="module")
def unit_file(examples) -> Path:
    return examples / "field_camera" / "hmdrn-watch.service"


@pytest.fixture(scope="module")
def unit(unit_file) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # systemd distinguishes upper and lower case
    parser.read(unit_file)
    return parser


@pytest.fixture
def settings(examples) -> dict[str, str]:
    """The settings of watch.env, read as systemd reads them."""
    text = (examples / "field_camera" / "watch.env").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: shlex.split(value)[0] for name, value in (line.split("=", 1) for line in lines)}


def test_the_unit_always_restarts_and_writes_only_to_its_folder(unit, settings):
    service = unit["Service"]
    assert service["Restart"] == "on-failure"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in service
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    state = f"/var/lib/{service['StateDirectory']}/"
    written = [
        settings["GALLERY"],
        *(word for word in shlex.split(settings["OPTIONS"]) if word.startswith("/")),
    ]
    assert len(written) == 2
    assert all(path.startswith(state) for path in written)
    # The program does not report to systemd: a watchdog would kill it.
    assert "WatchdogSec" not in service
    assert service["Type"] != "notify"


def test_the_unit_builds_engines_first_where_needed_and_starts_even_so(unit, settings):
    before = unit["Service"]["ExecStartPre"]
    assert before.startswith(f"-{PROGRAM} build ")  # "-": the camera starts whether the build succeeds or not
    words = [settings[word[2:-1]] if word.startswith("${") else word for word in before.split()[1:]]
    assert words == ["build", "default", "--if-needed"]
    assert unit["Service"]["TimeoutStartSec"] == "1h"  # systemd's 90 seconds would end a build


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: Debian's systemd")
def test_systemd_accepts_the_unit_and_finds_little_exposed(unit_file, tmp_path):
    # systemd looks for the program, which is not installed here.
    copy = tmp_path / unit_file.name
    copy.write_text(unit_file.read_text(encoding="utf-8").replace(PROGRAM, sys.executable))
    for words in (["verify", "--man=no"], ["security", "--offline=true", "--no-pager", "--threshold=25"]):
        done = subprocess.run(["systemd-analyze", *words, copy], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert unit_file.name not in done.stderr, done.stderr  # where systemd names what it passes over


@pytest.fixture
def calibrated(photos, once) -> Path:
    """A gallery as the README has it made."""

    def make(folder: Path) -> None:
        folder.mkdir()
        where = str(folder / "site.gallery")
        assert run(cli, "hmdrn", ["enroll", "default", str(photos), "--gallery", where, "--far", "0.05"]) == 0

    return once("example-calibrated", make) / "site.gallery"


@pytest.fixture
def film(tmp_path) -> Path:
    """Two seconds of a species that nobody enrolled."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: the extra camera")
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 15, (128, 128))
    for _ in range(30):
        writer.write(cv2.cvtColor(draw_specimen(30, 0), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def command_line(unit: configparser.ConfigParser, settings: dict[str, str]) -> list[str]:
    """ExecStart as systemd would run it: ${NAME} is one word, $NAME as many as it has."""
    words = []
    for word in unit["Service"]["ExecStart"].split():
        if word.startswith("${"):
            words.append(settings[word[2:-1]])
        elif word.startswith("$"):
            words += settings[word[1:]].split()
        else:
            words.append(word)
    assert words[0] == PROGRAM
    return [sys.executable, "-m", "hmdrn", *words[1:]]


@pytest.mark.slow
def test_the_units_command_watches_until_sigterm_and_ends_with_a_summary(
    unit, settings, calibrated, film, tmp_path, environment
):
    state = tmp_path / "state of hmdrn"
    state.mkdir()
    shutil.copy(calibrated, state / "site.gallery")
    command = command_line(unit, settings)
    assert command[-4:] == ["--snapshots", "/var/lib/hmdrn/unknown", "--snapshot-every", "10"]
    command = [word.replace("/var/lib/hmdrn", str(state)) for word in command]
    source = command.index("--source") + 1
    assert command[source] == "0"  # a camera, which this machine need not have
    command[source] = str(film)
    command += ["--loop", "--max-seconds", "30"]  # so that it ends, if the test does not end it
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=state
    ) as service:
        try:
            for line in service.stdout:
                event = json.loads(line)
                if event["event"] == "label":
                    break
            began = time.monotonic()
            while not list(state.rglob("*.jpg")) and time.monotonic() < began + 20:
                time.sleep(0.05)
        finally:
            service.send_signal(signal.SIGTERM)
            _, errors = service.communicate(timeout=20)
    assert event["state"] == "unknown"
    assert service.returncode == 0, errors  # what systemd calls a success: it does not start it again
    assert "frames" in errors
    assert "Traceback" not in errors
    (picture,) = (state / "unknown").rglob("*.jpg")  # the next one would be due after ten seconds
    assert picture.parent.name.startswith("unknown-")


@pytest.fixture
def install(examples, tmp_path):
    """Run install.sh with a DESTDIR, which keeps it from installing anything but the service's files."""

    def run_script(*arguments, script=examples / "field_camera" / "install.sh"):
        environment = {**os.environ, "DESTDIR": str(tmp_path / "image")}
        words = [script, *map(str, arguments)]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30)

    return run_script


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_files_are_installed_and_existing_settings_stay(install, tmp_path):
    assert install().returncode == 0
    own = tmp_path / "image/etc/hmdrn/watch.env"
    service = tmp_path / "image/etc/systemd/system/hmdrn-watch.service"
    assert files_in(tmp_path) == [own, service]
    assert own.stat().st_mode & 0o777 == 0o640  # it may hold the broker's password
    own.write_text("SOURCE=1\n")
    service.write_text("old")
    assert install().returncode == 0
    assert own.read_text() == "SOURCE=1\n"
    assert "ExecStart=" in service.read_text()


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_prints_the_usage_and_installs_nothing(install, tmp_path, option):
    done = install(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: sudo ./install.sh [WHEEL | CHECKOUT]")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--upgrade"], "unknown option --upgrade"),
        (["-r"], "unknown option -r"),
        (["hmdrn[camera]"], "neither a wheel nor a checkout"),  # never a name of an index
        (["gone.whl"], "neither a wheel nor a checkout"),
        (["/"], "neither a wheel nor a checkout"),
        (["a.whl", "b.whl"], "too many arguments"),
    ],
)
def test_anything_but_a_wheel_or_a_checkout_is_refused_in_one_line(install, tmp_path, arguments, words):
    done = install(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert files_in(tmp_path) == []


def test_a_wheel_or_another_checkout_is_accepted(install, examples, tmp_path):
    wheel = tmp_path / "hmdrn-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert install(wheel).returncode == 0
    assert install(examples.parent).returncode == 0


def test_outside_of_a_checkout_it_needs_an_argument(install, examples, tmp_path):
    copy = shutil.copytree(examples / "field_camera", tmp_path / "copy")
    done = install(script=copy / "install.sh")
    assert done.returncode == 2
    assert "neither a wheel nor a checkout" in done.stderr
    assert not (tmp_path / "image").exists()
