"""Checks of arguments from Python code: a wrong one is an error that says what is right.

Numbers are Python's or NumPy's; True is not a number, and neither is the text "3".
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from hmdrn_runtime.errors import HmdrnError


def check_count(
    value: Any, name: str, advice: str, error: type[HmdrnError] = HmdrnError, minimum: int = 1
) -> int:
    """Return a whole number of at least `minimum` as an int; anything else raises `error` with the advice."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < minimum:
        _refuse(value, name, advice, error)
    return number


def check_number(
    value: Any,
    name: str,
    advice: str,
    error: type[HmdrnError] = HmdrnError,
    valid: Callable[[float], bool] = lambda _: True,
) -> float:
    """Return a number that is valid as a float; anything else raises `error` with the advice."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real) or not valid(float(value)):
        _refuse(value, name, advice, error)
    return float(value)


def check_kind(
    value: object, kind: type[Any], name: str, advice: str, error: type[HmdrnError] = HmdrnError
) -> None:
    """Raise `error` with the advice for an object of another kind."""
    if not isinstance(value, kind):
        _refuse(value, name, advice, error)


def check_callable(value: Any, name: str, advice: str, error: type[HmdrnError] = HmdrnError) -> None:
    """Raise `error` with the advice for an object that cannot be called."""
    if not callable(value):
        _refuse(value, name, advice, error)


def refuse_copy(item: object, advice: str) -> NoReturn:
    """Raise the error of an object that cannot be pickled or copied; for its `__reduce__`."""
    raise HmdrnError(f"a {type(item).__name__} cannot be pickled or copied: {advice}")


def _refuse(value: object, name: str, advice: str, error: type[HmdrnError]) -> NoReturn:
    shown = str(value) if isinstance(value, Real) else repr(value)
    shown = shown if len(shown) <= 60 and shown.isprintable() else f"a {type(value).__name__}"
    raise error(f"{name} is {shown}: {advice}")
