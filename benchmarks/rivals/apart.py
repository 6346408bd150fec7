"""Rivals in processes of their own: in one process the thread pools of some slow down the others manyfold."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.common import best_threads
from benchmarks.rivals.episode import check, classifying, logits_of, make_episode
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.timing import Call, Plan, single_stream

_WARMUP = 0.05
"""Seconds at the beginning of a turn: the caches are full of others' data, and threads have gone to sleep."""
_LEAST = 3


@dataclass(frozen=True)
class Ready:
    """What is known of a rival once it is prepared.

    Attributes:
        threads: The quicker number of them.
        difference: Of its logits, as `episode.check` tells.
    """

    threads: int
    difference: float


class Apart:
    """A rival that is prepared in a process of its own, and stands still there between its turns.

    Args:
        name: One of `rivals.rivals`.

    Raises:
        HmdrnError: It computes something else than its network.
    """

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.ready: Ready = self._answer()

    def turn(self, seconds: float) -> float:
        """The median of a call over so many seconds, at least three calls, after a short warm-up."""
        self._connection.send(seconds)
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def _answer(self) -> Ready | float:
        try:
            found = self._connection.recv()
        except EOFError as error:
            raise HmdrnError(f"{self._name!r} ended unexpectedly: see the message above") from error
        if isinstance(found, HmdrnError):
            raise found
        return found


def _serve(name: str, connection: Connection) -> None:
    # Here, since it imports this module.
    from benchmarks.rivals.__main__ import rivals

    episode = make_episode()
    rival = dict(rivals(episode))[name]()
    expected = logits_of(rival.network, episode)
    differences: list[float] = []

    def checked(count: int) -> Call:
        classify = rival.make(count)
        differences.append(check(name, classify, episode, expected))
        return classifying(classify, episode)

    try:
        threads, call = best_threads(checked)
    except HmdrnError as error:
        connection.send(error)
        return
    connection.send(Ready(threads, max(differences)))
    while True:
        try:
            seconds = connection.recv()
        except EOFError:
            return
        connection.send(float(np.median(single_stream(call, Plan(seconds, _LEAST, _WARMUP)))))
