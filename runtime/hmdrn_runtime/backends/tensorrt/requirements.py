"""Requirements of TensorRT on a device, checked before any call that would end the process without them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from hmdrn_runtime.errors import BackendError
from hmdrn_runtime.messages import format_error


def import_tensorrt() -> Any:
    """Import TensorRT's module.

    Raises:
        BackendError: It is not installed, or cannot be imported.
    """
    if importlib.util.find_spec("tensorrt") is None:
        raise BackendError(
            "the Python package 'tensorrt' is not installed (JetPack has it; elsewhere it is on NVIDIA's "
            "index)"
        )
    try:
        # Not a plain import statement: type checkers need not have the package.
        return importlib.import_module("tensorrt")
    except Exception as error:  # its libraries raise arbitrary exceptions
        raise BackendError(
            f"the Python package 'tensorrt' cannot be imported ({format_error(error)})"
        ) from error


def require_all(*requirements: Callable[[], Any]) -> tuple[Any, ...]:
    """Call all requirements and return their results.

    Raises:
        BackendError: Some are not met; the message names all of these.
    """
    results, missing = [], []
    for require in requirements:
        try:
            results.append(require())
        except BackendError as error:
            missing.append(str(error))
    if missing:
        raise BackendError("; ".join(missing))
    return tuple(results)
