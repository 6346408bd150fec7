"""MATLAB files, read by scipy in a process of its own: damaged ones crash its decoder, not just raise."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from io import BytesIO
from typing import Any

from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.messages import one_line

Variables = dict[str, Any]
"""The variables of a file by name: numbers, texts, lists, and structures as dictionaries."""


def load_matlab(files: Mapping[str, bytes]) -> dict[str, Variables]:
    """The variables of some files.

    Args:
        files: Their contents by the name that messages call them.

    Raises:
        DatasetError: One is damaged.
    """
    loaded = {}
    # Spawned, since a fork of a process with threads may stand still.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_leave_interrupts) as pool:
        for name, data in files.items():
            try:
                found = pool.submit(_load, data).result()
            except BrokenProcessPool:
                found = "its decoder broke down"
            if isinstance(found, str):
                raise DatasetError(
                    f"{name} cannot be read ({found}): it is damaged; download the archive again"
                )
            loaded[name] = found
    return loaded


def _leave_interrupts() -> None:
    # The process that waits is interrupted too, and says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load(data: bytes) -> Variables | str:
    """The variables, or why they cannot be read."""
    from scipy.io import loadmat

    warnings.simplefilter("ignore")
    try:
        variables: Variables = _plain(loadmat(BytesIO(data), simplify_cells=True))
    except Exception as error:  # scipy raises nearly anything on damage
        return one_line(error)
    return variables


def _plain(value: Any) -> Any:
    """A value without NumPy's types."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value
