"""The process that trains: its memory and its interrupts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from hmdrn_runtime.device.cpu_limits import count_cpus


def keep_freed_memory() -> None:
    """Make glibc keep the memory of a step for the next step; other C libraries stay as they are.

    To return it to the system, which zeroes it again, took a third of a Conv-4 step.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    most_mappings, trim_threshold, top_padding = -4, -1, -2
    for option, value in ((most_mappings, 0), (trim_threshold, 2**31 - 1), (top_padding, 2**29)):
        library.mallopt(option, value)


def share_cores() -> int:
    """Give this process its share of the cores among those that `torchrun` started.

    One thread a process and several processes lose less time than several threads to other programs.

    Returns:
        Threads of this process, at least 1.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = max(1, count_cpus() // processes)
    torch.set_num_threads(threads)
    return threads


@contextmanager
def defer_interrupts() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM set an event instead of ending a step; a second Ctrl-C stops at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def set_event(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupted.set()

    before = {number: signal.signal(number, set_event) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
