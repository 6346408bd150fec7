"""From a photograph to a prediction, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Resident
from hmdrn_runtime.images import ImageSource, prepare
from hmdrn_runtime.profiling.hooks import TimesTransfers, Transfers
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, Plan, Seconds, in_turns
from hmdrn_runtime.recognizer import Recognizer

PREPROCESSING = "preprocessing"
TO_DEVICE = "host to device"
NETWORK = "network"
MATCHING = "matching"
NETWORK_AND_MATCHING = "network and matching"
TO_HOST = "device to host"
ANSWER = "answer"
STAGES = (PREPROCESSING, TO_DEVICE, NETWORK, MATCHING, NETWORK_AND_MATCHING, TO_HOST, ANSWER)
"""Every stage in its order. Where matching cannot be told from the network (attention), they are one."""
_GRAPHS = "graphs"
TOTAL = "total"


@dataclass(frozen=True)
class Stages:
    """One photograph on its way to a prediction.

    Attributes:
        stages: Latency of the stages that the backend and the head have, in their order. Matching is what the
            graph with it takes longer than the graph without, and the answer (which species are enrolled at
            this moment, ranking, probabilities) is what the total has beyond all others, both turn by turn.
        total: The whole, as a user calls it.
        seconds: Durations of the total, turn by turn.
    """

    stages: dict[str, Latency]
    total: Latency
    seconds: Seconds

    @property
    def preprocessing_share(self) -> float:
        """Median of preprocessing over that of the total."""
        return self.stages[PREPROCESSING].p50 / self.total.p50

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        stages = {name: latency.to_dict() for name, latency in self.stages.items()}
        return {
            "stages": stages,
            TOTAL: self.total.to_dict(),
            "preprocessing_share": self.preprocessing_share,
        }


def measure_stages(
    recognizer: Recognizer, source: ImageSource, plan: Plan, after: Call = lambda: None
) -> Stages:
    """Time the stages of one classification, and the whole, in turns.

    Args:
        recognizer: With at least one species.
        source: What to classify, e.g. a JPEG's bytes.
        plan: How long to measure.
        after: Called between the turns, untimed.
    """
    mode = recognizer.bundle.manifest.input.preprocessing
    backend, matcher = recognizer.backend, recognizer.matcher
    pixels = prepare(source, mode)[None]
    # Those that a classification uses at this moment, wherever they are matched.
    operands = recognizer._current_classes().operands
    calls: dict[str, Call] = {
        PREPROCESSING: lambda: prepare(source, mode),
        _GRAPHS: lambda: matcher.classify(pixels, operands),
        TOTAL: lambda: recognizer.classify(source),
    }
    transfers: list[Transfers] = []
    if isinstance(backend, TimesTransfers) and isinstance(operands, Mapping):
        timed: TimesTransfers = backend
        inputs: dict[str, npt.NDArray[Any] | Resident] = {"images": pixels, **operands}
        calls[TO_DEVICE] = lambda: transfers.append(timed.run_timed("classify", inputs)[1])
    if matcher.network.head == "ridge":
        calls[NETWORK] = lambda: backend.run("encode", {"images": pixels})
    times = in_turns(calls, plan, after=after)
    found = _split(times, transfers[-len(times[TOTAL]) :])
    latencies = {name: Latency.of(found[name]) for name in STAGES if name in found}
    return Stages(latencies, Latency.of(times[TOTAL]), times[TOTAL])


def _split(times: dict[str, Seconds], transfers: list[Transfers]) -> dict[str, Seconds]:
    found = {PREPROCESSING: times[PREPROCESSING]}
    graphs = times[_GRAPHS]
    if transfers:
        found[TO_DEVICE] = np.array([one.to_device for one in transfers])
        found[TO_HOST] = np.array([one.to_host for one in transfers])
    copied = found[TO_DEVICE] + found[TO_HOST] if transfers else np.zeros_like(graphs)
    if NETWORK in times:
        # The graph without matching copies the photo too, and a smaller answer.
        found[NETWORK] = np.maximum(times[NETWORK] - copied, 0)
        found[MATCHING] = np.maximum(graphs - times[NETWORK], 0)
    else:
        found[NETWORK_AND_MATCHING] = np.maximum(graphs - copied, 0)
    found[ANSWER] = np.maximum(times[TOTAL] - times[PREPROCESSING] - graphs, 0)
    return found
