"""From a photograph to a prediction, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.base import Backend, Resident
from hmdrn_runtime.backends.timing import TimesTransfers, Transfers
from hmdrn_runtime.images.preprocessing import ImageSource
from hmdrn_runtime.images.query_preprocessing import prepare_query
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.timing import Call, Plan, Seconds, in_turns
from hmdrn_runtime.recognizer import Recognizer

PREPROCESSING = "preprocessing"
TO_DEVICE = "host to device"
NETWORK = "network"
NETWORK_AND_MATCHING = "network and matching"
TO_HOST = "device to host"
ANSWER = "answer"
MATCHING_AND_ANSWER = "matching and answer"
STAGES = (PREPROCESSING, TO_DEVICE, NETWORK, NETWORK_AND_MATCHING, TO_HOST, MATCHING_AND_ANSWER, ANSWER)
"""Every stage in its order. Few species are matched in the network's graph: its run is one stage then. Many
are matched outside it."""
TOTAL = "total"


@dataclass(frozen=True)
class Stages:
    """One photograph on its way to a prediction.

    Attributes:
        stages: Latency of the stages that there are, in their order. They are parts of the same calls as the
            total: in every call they sum to it, and so do their means; their percentiles need not. Before
            the graph runs is preprocessing; the answer (ranking, probabilities) is all that comes after.
        total: The whole, as a user calls it.
        seconds: Durations of the total, turn by turn.
    """

    stages: dict[str, Latency]
    total: Latency
    seconds: Seconds

    @property
    def preprocessing_share(self) -> float:
        """Mean of preprocessing over that of the total, 0-1."""
        return self.stages[PREPROCESSING].mean / self.total.mean

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        stages = {name: latency.to_dict() for name, latency in self.stages.items()}
        return {
            "stages": stages,
            TOTAL: self.total.to_dict(),
            "preprocessing_share": self.preprocessing_share,
        }


class _Stamped(Backend):
    """Another backend that notes when its graph began and how long it ran."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.name = backend, backend.name
        self.graph, self.began, self.ran = "", 0.0, 0.0

    def place(self, array: npt.NDArray[Any]) -> Resident:
        return self.backend.place(array)

    def run(
        self, graph: str, inputs: Mapping[str, npt.NDArray[Any] | Resident]
    ) -> dict[str, npt.NDArray[Any]]:
        self.graph, self.began = graph, time.perf_counter()
        outputs = self.backend.run(graph, inputs)
        self.ran = time.perf_counter() - self.began
        return outputs


def measure_stages(
    recognizer: Recognizer, source: ImageSource, plan: Plan, after: Call = lambda: None
) -> Stages:
    """Time classifications from end to end, and within each of them its stages.

    Args:
        recognizer: With at least one species.
        source: What to classify, e.g. a JPEG's bytes.
        plan: How long to measure.
        after: Called between the turns, untimed.
    """
    stamped = _Stamped(recognizer.backend)
    whole = Recognizer(recognizer.bundle, stamped, recognizer.gallery)
    spans: list[tuple[float, float, float]] = []

    def classify() -> None:
        start = time.perf_counter()
        whole.classify(source)
        end = time.perf_counter()
        ended = stamped.began + stamped.ran
        spans.append((stamped.began - start, stamped.ran, end - ended))

    calls: dict[str, Call] = {TOTAL: classify}
    transfers: list[Transfers] = []
    # Those that a classification uses at this moment, wherever they are matched.
    operands = recognizer.generations.current().operands
    if isinstance(recognizer.backend, TimesTransfers) and isinstance(operands, Mapping):
        timed: TimesTransfers = recognizer.backend
        pixels = prepare_query(source, recognizer.bundle.manifest.input.preprocessing)[None]
        inputs: dict[str, npt.NDArray[Any] | Resident] = {"images": pixels, **operands}
        calls[TO_DEVICE] = lambda: transfers.append(timed.run_timed("classify", inputs)[1])
    turns = len(in_turns(calls, plan, after=after)[TOTAL])
    found = _split(np.array(spans[-turns:]).T, transfers[-turns:], stamped.graph == "classify")
    total = np.sum(list(found.values()), axis=0)
    latencies = {name: Latency.of(found[name]) for name in STAGES if name in found}
    return Stages(latencies, Latency.of(total), total)


def _split(
    spans: npt.NDArray[np.float64], transfers: list[Transfers], matched_within: bool
) -> dict[str, Seconds]:
    before, ran, after = spans
    found = {PREPROCESSING: before}
    if transfers:
        # From runs beside these: never longer than the run that they are a part of.
        found[TO_DEVICE] = np.minimum([one.to_device for one in transfers], ran)
        found[TO_HOST] = np.minimum([one.to_host for one in transfers], ran - found[TO_DEVICE])
        ran = ran - found[TO_DEVICE] - found[TO_HOST]
    found[NETWORK_AND_MATCHING if matched_within else NETWORK] = ran
    found[ANSWER if matched_within else MATCHING_AND_ANSWER] = after
    return found
