"""What a device must have for TensorRT, looked for before anything that would end the process without it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.messages import one_line


def import_tensorrt() -> Any:
    """TensorRT's module.

    Raises:
        BackendError: It is not installed, or cannot be imported.
    """
    if importlib.util.find_spec("tensorrt") is None:
        raise BackendError(
            "the Python package 'tensorrt' is not installed (JetPack has it; elsewhere it is on NVIDIA's "
            "index)"
        )
    try:
        # Not by a plain import: type checkers need not have it.
        return importlib.import_module("tensorrt")
    except Exception as error:  # its libraries raise what they like
        raise BackendError(f"the Python package 'tensorrt' cannot be imported ({one_line(error)})") from error


def require_all(*needs: Callable[[], Any]) -> tuple[Any, ...]:
    """What all of the needs give.

    Raises:
        BackendError: Some are not met; the message names all of these.
    """
    found, missing = [], []
    for need in needs:
        try:
            found.append(need())
        except BackendError as error:
            missing.append(str(error))
    if missing:
        raise BackendError("; ".join(missing))
    return tuple(found)
