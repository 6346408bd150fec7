"""What watching needs, and what it says where that is missing; each proof in a process of its own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from device_python import run_python

import hmdrn

MAIN = "from hmdrn.cli.main import main; sys.argv[0] = 'hmdrn'; sys.exit(main())"
WITHOUT = "sys.modules['cv2'] = sys.modules['paho'] = None; "


def test_the_package_and_the_help_load_no_opencv():
    code = "import hmdrn; print(sorted({'cv2', 'paho', 'onnxruntime'} & set(sys.modules)))"
    done = run_python(code)
    assert done.stdout.strip() == "[]", done.stderr
    done = run_python(WITHOUT + MAIN, "watch", "--help")
    assert done.returncode == 0, done.stderr
    assert "Example: hmdrn watch" in done.stdout


def test_a_folder_is_watched_without_opencv(site):
    source = site.photos[0]
    done = run_python(WITHOUT + MAIN, "watch", "default", "--gallery", site.gallery, "--source", source)
    assert done.returncode == 0, done.stderr
    assert site.labels[0] in done.stdout


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ((), "'.[camera]'"),
        (("--source", "0"), "'.[camera]'"),
        (("--mqtt", "mqtt://127.0.0.1/a"), "'.[mqtt]'"),
    ],
)
def test_what_is_missing_is_one_line_with_its_extra(site, options, extra):
    arguments = ("watch", "default", "--gallery", site.gallery, "--source", site.film, *options)
    done = run_python(WITHOUT + MAIN, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert extra in done.stderr


def test_every_type_that_a_user_of_watch_meets_is_exported_and_on_the_page_of_the_api():
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text().splitlines()
    met: set[type] = set()
    ahead = list(_classes(get_type_hints(hmdrn.watch)))
    while ahead:
        one = ahead.pop()
        if one in met or not one.__module__.startswith("hmdrn."):
            continue
        met.add(one)
        public = [member for name, member in vars(one).items() if name == "__iter__" or name[0] != "_"]
        ahead += _classes(get_type_hints(one))
        for member in public:
            code = getattr(member, "fget", None) or getattr(member, "func", member)
            ahead += _classes(get_type_hints(code)) if inspect.isfunction(code) else []
            ahead += [type(member)]
    met.add(type(hmdrn.Watch(None, None, None).summary))
    assert {hmdrn.WatchResult, hmdrn.Sighting, hmdrn.Smoothing, hmdrn.SourceEvent, hmdrn.Frame} <= met
    for one in met:
        exported = getattr(hmdrn, one.__name__, None) is one
        path = f"hmdrn.{one.__name__}" if exported else f"{one.__module__}.{one.__name__}"
        assert f"::: {path}" in page, path


def _classes(hint: object) -> Iterator[type]:
    """The classes in an annotation, or in those of a function by name."""
    if isinstance(hint, dict):
        for one in hint.values():
            yield from _classes(one)
    elif isinstance(hint, type):
        yield hint
    for part in get_args(hint):
        for one in part if isinstance(part, list) else [part]:
            yield from _classes(one)
