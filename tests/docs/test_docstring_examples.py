"""Public classes and the main functions have an example in their docstring, and it runs."""

from __future__ import annotations

import doctest
import inspect

import pytest

import hmdrn

FUNCTIONS = (
    "load",
    "watch",
    "load_gallery",
    "edit_gallery",
    "calibrate_threshold",
    "evaluate",
    "profile_bundle",
    "Recognizer.enroll",
    "Recognizer.classify",
)
CLASSES = tuple(name for name in hmdrn.__all__ if inspect.isclass(getattr(hmdrn, name)))
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def find_examples(path: str) -> list[doctest.DocTest]:
    """Return the examples in the docstring of a public name, without those of its members."""
    value: object = hmdrn
    for part in path.split("."):
        value = getattr(value, part)
    parser = doctest.DocTestParser()
    test = parser.get_doctest(inspect.getdoc(value) or "", {"hmdrn": hmdrn}, path, None, 0)
    return [test] if test.examples else []


@pytest.mark.parametrize("path", [*CLASSES, *FUNCTIONS])
def test_a_docstring_has_an_example(path):
    assert find_examples(path), f"hmdrn.{path} has no example in its docstring"


@pytest.mark.slow
@pytest.mark.parametrize("path", [*CLASSES, *FUNCTIONS])
def test_an_example_of_a_docstring_runs(path, folder):
    for test in find_examples(path):
        report: list[str] = []
        doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
        assert not report, "".join(report)
