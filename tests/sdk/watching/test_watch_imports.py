"""What watching needs, and what it says where that is missing; each proof in a process of its own."""

from __future__ import annotations

import pytest
from test_imports import run_python

MAIN = "from hmdrn.cli import main; sys.argv[0] = 'hmdrn'; sys.exit(main())"
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
