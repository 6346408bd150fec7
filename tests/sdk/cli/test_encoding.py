"""Consoles of other encodings, and file names that are not UTF-8: no command fails for what it prints."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from PIL import Image

from hmdrn.cli.encoding import ESCAPE
from hmdrn.cli.main import cli, run
from hmdrn.watching.events import to_json_line
from hmdrn_runtime.specimens.drawing import draw_specimens

LABELS = ["鳥 🐦", "Größte Möwe"]
UNDECODABLE = os.fsdecode(b"vog\xe9l.png")
no_such_names = pytest.mark.skipif(sys.platform != "linux", reason="this system's names are Unicode")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A gallery with labels in other scripts, and a photo whose name is in Latin-1."""
    folder = tmp_path_factory.mktemp("site")
    for label, images in zip(LABELS, draw_specimens(range(2), 2, size=96), strict=True):
        (folder / "photos" / label).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / "photos" / label / f"{number}.png")
    (folder / "latin").mkdir()
    if sys.platform == "linux":
        (folder / "latin" / UNDECODABLE).write_bytes((folder / "photos" / LABELS[0] / "0.png").read_bytes())
    assert run_on("utf-8", "enroll", "default", folder / "photos", "-g", folder / "g.gallery")[0] == 0
    return folder


def run_on(encoding: str, *arguments: object) -> tuple[int, bytes, bytes]:
    """Run a command whose standard output and error have an encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        code = run(cli, "hmdrn", [str(argument) for argument in arguments])
    return (code, *(stream.buffer.getvalue() for stream in streams))


def commands(site: Path) -> dict[str, list[object]]:
    gallery, photo = (
        site / "g.gallery",
        next((site / "latin").iterdir(), site / "photos" / LABELS[0] / "0.png"),
    )
    episodes = ["--episodes", 1, "--way", 2, "--shot", 1, "--queries", 1]
    return {
        "classify": ["classify", "default", photo, "-g", gallery],
        "enroll": ["enroll", "default", site / "photos", "-g", gallery],
        "show": ["gallery", "show", gallery, LABELS[0]],
        "history": ["gallery", "history", gallery],
        "inspect": ["inspect", gallery],
        "eval": ["eval", "default", site / "photos", *episodes],
        "watch": ["watch", "default", "-s", photo, "-g", gallery, "--all"],
    }


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *(("ascii", name) for name in ("classify", "enroll", "show", "history", "inspect", "eval", "watch")),
        *(("cp1252", name) for name in ("classify", "show", "watch")),
        *((other, "show") for other in ("gbk", "utf-8", "utf-16")),
    ],
)
def test_a_command_escapes_what_the_stream_cannot_say(site, encoding, name):
    code, out, err = run_on(encoding, *commands(site)[name])
    assert code == 0, err
    if name in ("show", "history"):
        assert LABELS[0].encode(encoding, ESCAPE).decode(encoding).lstrip("\ufeff") in out.decode(encoding)
    if name == "classify" and sys.platform == "linux":
        assert b"vog\\udce9l.png" in out


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *(("ascii", name) for name in ("enroll", "show", "history", "inspect", "watch")),
        *(("cp1252", name) for name in ("classify", "show", "watch")),
        *(("utf-8", name) for name in ("classify", "show", "watch")),
    ],
)
def test_json_is_valid_and_in_ascii_where_the_stream_is_not_utf8(site, encoding, name):
    code, out, err = run_on(encoding, *commands(site)[name], "--json")
    assert code == 0, err
    text = out.decode("utf-8" if encoding == "utf-8" else "ascii")
    values = [json.loads(line) for line in text.splitlines()] if name == "watch" else json.loads(text)
    if name in ("enroll", "show", "history"):
        assert LABELS[0] in json.dumps(values, ensure_ascii=False)
    if name in ("classify", "watch") and sys.platform == "linux":
        path = values[0]["image" if name == "classify" else "file"]
        assert os.fsencode(path).endswith(b"/vog\xe9l.png")


@no_such_names
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_refusal_names_an_undecodable_file_and_an_argument(site, encoding):
    for arguments in (
        ("classify", "default", UNDECODABLE, "-g", site / "g.gallery"),
        ("inspect", UNDECODABLE),
    ):
        code, out, err = run_on(encoding, *arguments)
        assert (code, out) == (2, b"")
        assert b"vog\\udce9l.png" in err
        assert err.count(b"\n") == 1


@no_such_names
def test_an_event_for_a_broker_is_valid_despite_undecodable_bytes():
    line = to_json_line({"file": UNDECODABLE, "label": "鳥"})
    assert json.loads(line.encode()) == {"file": UNDECODABLE, "label": "鳥"}
    assert to_json_line({"label": "鳥"}) == '{"label": "鳥"}'


@no_such_names
def test_a_process_in_the_c_locale_prints_json_in_ascii(site):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    command = [sys.executable, "-m", "hmdrn", *commands(site)["history"], "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert {change["label"] for change in json.loads(done.stdout.decode("ascii"))["history"]} == set(LABELS)
