"""Rivals in separate processes: within one process the thread pools of some slow down the others manyfold."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.common import find_best_threads
from benchmarks.rivals.catalog import list_rivals
from benchmarks.rivals.episode import check_logits, compute_logits, make_call, make_episode
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.timing import Call, TimingPlan, time_single_stream

_WARMUP = 0.05
"""Seconds at the start of a turn: the caches hold other rivals' data, and threads have gone to sleep."""
_MIN_RUNS = 3


@dataclass(frozen=True)
class ModelStatus:
    """State of a rival once it is prepared.

    Attributes:
        threads: The faster thread count.
        logit_difference: Largest difference from the network's logits, as `check_logits` returns it.
    """

    threads: int
    logit_difference: float


class IsolatedModel:
    """A rival prepared in its own process, idle between its turns.

    Args:
        name: A name that `list_rivals` yields.

    Raises:
        HmdrnError: Its logits are not those of its network.
    """

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._connection, worker_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, worker_end), daemon=True)
        self._process.start()
        worker_end.close()
        self.status: ModelStatus = self._receive()

    def time_turn(self, seconds: float) -> float:
        """Return the median seconds of a call, over at least `seconds` and three calls, after a warm-up."""
        self._connection.send(seconds)
        return float(self._receive())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise HmdrnError(f"{self._name!r} ended unexpectedly: see the message above") from error
        if isinstance(answer, HmdrnError):
            raise answer
        return answer


def _serve(name: str, connection: Connection) -> None:
    episode = make_episode()
    rival = dict(list_rivals(episode))[name]()
    expected = compute_logits(rival.network, episode)
    differences: list[float] = []

    def make_checked_call(threads: int) -> Call:
        classify = rival.make(threads)
        differences.append(check_logits(name, classify, episode, expected))
        return make_call(classify, episode)

    try:
        threads, call = find_best_threads(make_checked_call)
    except HmdrnError as error:
        connection.send(error)
        return
    connection.send(ModelStatus(threads, max(differences)))
    while True:
        try:
            seconds = connection.recv()
        except EOFError:
            return
        connection.send(float(np.median(time_single_stream(call, TimingPlan(seconds, _MIN_RUNS, _WARMUP)))))
