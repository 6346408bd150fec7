"""Options for supervisors: an HTTP endpoint for health, and lines of status."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from hmdrn.cli.messages import format_message, print_message
from hmdrn.cli.options import option
from hmdrn.cli.parameters import FiniteRange
from hmdrn.watching.events import Sink, build_status_event
from hmdrn.watching.status import SILENCE_SECONDS, WatchStatus, assess_health


@dataclass(frozen=True)
class HealthOptions:
    """Values of the options.

    Attributes:
        health: Address of the endpoint, HOST:PORT or PORT; None for none.
        health_after: Seconds without a frame after which it answers 503.
        status: Seconds between two lines of status; None for none.
    """

    health: str | None
    health_after: float
    status: float | None


def health_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `HealthOptions`, which the function receives as `supervision`."""

    @functools.wraps(function)
    def call(*arguments: Any, **values: Any) -> Any:
        options = HealthOptions(**{field.name: values.pop(field.name) for field in fields(HealthOptions)})
        return function(*arguments, supervision=options, **values)

    decorators = (
        option(
            "--health",
            metavar="HOST:PORT",
            help="Answer http://HOST:PORT/health with the state as JSON, 200 if all is well, else 503. PORT "
            "alone is for this computer only.",
        ),
        option(
            "--health-after",
            type=FiniteRange(0, min_open=True),
            default=SILENCE_SECONDS,
            metavar="S",
            help="Seconds without a frame, or without progress, from which the state is not healthy.",
        ),
        option(
            "--status",
            type=FiniteRange(0.1),
            metavar="S",
            help="Seconds between two events of status; on a terminal a line on standard error, too.",
        ),
    )
    for decorate in reversed(decorators):
        call = decorate(call)
    return call


def start_supervision(
    options: HealthOptions,
    read_status: Callable[[], WatchStatus],
    sink: Sink,
    write_error: Callable[[str], None],
    stop: Callable[[], None],
    stack: contextlib.ExitStack,
) -> None:
    """Start what the options ask for; `stack` ends it.

    Args:
        options: The options.
        read_status: Returns the present state; called in other threads.
        sink: Receives the events of status, in another thread.
        write_error: Writes a line on standard error, in another thread.
        stop: Ends the command's loop; called in another thread when the reader of the events is gone.
        stack: Ends it.

    Raises:
        HmdrnError: The address is wrong, or in use.
    """
    if options.health is not None:
        from hmdrn.watching.health_server import HealthServer

        server = HealthServer(options.health, read_status, options.health_after)
        stack.callback(server.close)
        print_message(f"the state is at {server.url}")
    if options.status is not None:
        ended = threading.Event()

        def report() -> None:
            while not ended.wait(options.status):
                status = read_status()
                health = assess_health(status, options.health_after)
                try:
                    sink(build_status_event(status, health, time.time()))
                    if sys.stderr is not None and sys.stderr.isatty():
                        write_error(format_message(describe_status(status, health.state)))
                except OSError:  # nobody reads any more
                    stop()
                    return

        thread = threading.Thread(target=report, name="hmdrn-status", daemon=True)
        thread.start()
        stack.callback(thread.join, 1.0)
        stack.callback(ended.set)


def describe_status(status: WatchStatus, state: str) -> str:
    """Return a status as a line for people."""
    parts = [f"{state}: {status.classified} frames named, {status.rate:.1f} a second"]
    if status.frame_age is not None:
        parts.append(f"last frame {status.frame_age:.1f} s ago")
    if status.dropped:
        parts.append(f"{status.dropped} dropped")
    if status.diary is not None:
        last = f", last {status.diary.last}" if status.diary.last is not None else ""
        parts.append(f"{status.diary.visits} visits{last}")
        lost = {
            "without pictures": status.diary.without_pictures,
            "without a clip": status.diary.without_clips,
            "waiting": status.diary.waiting,
        }
        parts += [f"{count} {name}" for name, count in lost.items() if count]
    if status.memory is not None:
        parts.append(f"{status.memory / 1e6:.0f} MB")
    return ", ".join(parts)
