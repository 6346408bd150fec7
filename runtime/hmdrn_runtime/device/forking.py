"""Repair of objects in a forked process.

A child has only the thread that forked. Locks that another thread held stay locked there for ever, and pools
of threads are empty but do not know it.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class SupportsFork(Protocol):
    """An object that works in a child after a repair."""

    def after_fork(self) -> None:
        """Replace locks and threads; called in the child, before anything else runs there."""


_objects: weakref.WeakSet[SupportsFork] = weakref.WeakSet()


def repair_after_fork(item: SupportsFork) -> None:
    """Call an object's `after_fork` in every child that this process forks, while the object lives."""
    _objects.add(item)


def keep_forever(item: object) -> None:
    """Keep an object until the process ends: in a child its destructor would wait for missing threads."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


def _repair_all() -> None:
    for item in list(_objects):
        item.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_repair_all)
