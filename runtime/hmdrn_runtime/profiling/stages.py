"""Latency of a classification, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend, GraphInputs, GraphOutputs, ResidentArray
from hmdrn_runtime.backends.timing import SupportsTransferTiming, TransferTimes
from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, Seconds, TimingPlan, time_interleaved
from hmdrn_runtime.recognizer import Recognizer

PREPROCESSING = "preprocessing"
TO_DEVICE = "host to device"
NETWORK = "network"
NETWORK_AND_MATCHING = "network and matching"
TO_HOST = "device to host"
ANSWER = "answer"
MATCHING_AND_ANSWER = "matching and answer"
STAGES = (PREPROCESSING, TO_DEVICE, NETWORK, NETWORK_AND_MATCHING, TO_HOST, MATCHING_AND_ANSWER, ANSWER)
"""All stages. The network's graph also matches few species, as one stage; many are matched after it."""


@dataclass(frozen=True)
class StageLatencies:
    """Latency of one classification and of its stages.

    Attributes:
        stages: Latency of each stage, in order. Preprocessing is all before the graph runs; the answer
            (ranking, probabilities) is all that comes after. In every call the stages sum to the total, and
            so do their means; their percentiles need not.
        total: Latency of the whole call, as a user makes it.
    """

    stages: dict[str, Latency]
    total: Latency

    @property
    def preprocessing_share(self) -> float:
        """Mean of preprocessing over that of the total, 0-1."""
        return self.stages[PREPROCESSING].mean / self.total.mean

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**asdict(self), "preprocessing_share": self.preprocessing_share}


class _TimestampingBackend(Backend):
    """Another backend that records when its graph started, and for how many seconds it ran."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.name = backend, backend.name
        self.graph, self.start, self.seconds = "", 0.0, 0.0

    def place(self, array: npt.NDArray[Any]) -> ResidentArray:
        return self.backend.place(array)

    def run(self, graph: str, inputs: GraphInputs) -> GraphOutputs:
        self.graph, self.start = graph, time.perf_counter()
        outputs = self.backend.run(graph, inputs)
        self.seconds = time.perf_counter() - self.start
        return outputs


def measure_stages(
    recognizer: Recognizer, source: ImageSource, plan: TimingPlan, after: Call = lambda: None
) -> StageLatencies:
    """Time whole classifications, and within each of them its stages.

    Args:
        recognizer: A recognizer with at least one species.
        source: The image to classify, e.g. a JPEG's bytes.
        plan: Duration of the measurement.
        after: Called between the turns, untimed.
    """
    backend = _TimestampingBackend(recognizer.backend)
    timed_recognizer = Recognizer(recognizer.bundle, backend, recognizer.gallery)
    spans: list[tuple[float, float, float]] = []

    def classify() -> None:
        start = time.perf_counter()
        timed_recognizer.classify(source)
        end = time.perf_counter()
        spans.append((backend.start - start, backend.seconds, end - backend.start - backend.seconds))

    calls: dict[str, Call] = {"total": classify}
    transfers: list[TransferTimes] = []
    # The operands of a classification at this moment, wherever species are matched.
    operands = recognizer.solved_gallery.current().operands
    if isinstance(recognizer.backend, SupportsTransferTiming) and isinstance(operands, Mapping):
        pixels = prepare_query(source, recognizer.preprocessing)[None]
        run_timed = partial(recognizer.backend.run_timed, "classify", {"images": pixels, **operands})
        calls[TO_DEVICE] = lambda: transfers.append(run_timed()[1])
    turns = len(time_interleaved(calls, plan, after=after)["total"])
    seconds = _split_stages(np.array(spans[-turns:]).T, transfers[-turns:], backend.graph == "classify")
    latencies = {name: Latency.from_seconds(seconds[name]) for name in STAGES if name in seconds}
    return StageLatencies(latencies, Latency.from_seconds(np.sum(list(seconds.values()), axis=0)))


def _split_stages(
    spans: npt.NDArray[np.float64], transfers: list[TransferTimes], matched_in_graph: bool
) -> dict[str, Seconds]:
    before, run, after = spans
    stages = {PREPROCESSING: before}
    if transfers:
        # Measured in separate runs, so limited to the run that they are a part of.
        stages[TO_DEVICE] = np.minimum([times.to_device for times in transfers], run)
        stages[TO_HOST] = np.minimum([times.to_host for times in transfers], run - stages[TO_DEVICE])
        run = run - stages[TO_DEVICE] - stages[TO_HOST]
    stages[NETWORK_AND_MATCHING if matched_in_graph else NETWORK] = run
    stages[ANSWER if matched_in_graph else MATCHING_AND_ANSWER] = after
    return stages
