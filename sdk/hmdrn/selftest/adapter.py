"""Check of a package for CUDA: the bytes that it copies come back, step by step and as a captured graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hmdrn_runtime.backends.tensorrt.cuda.base import CapturedGraph, Cuda, DeviceBuffer, PinnedBuffer, Stream

SIZE = 4 << 20
"""Bytes that are copied, about as many as a gallery's operators take."""


def check_adapter(cuda: Cuda) -> dict[str, Any]:
    """Copy bytes to the device, on it, and back; where graphs are captured, copy others by a graph too.

    Returns:
        The package's name, whether it captures graphs, and "problem" if other bytes come back.

    Raises:
        BackendError: A call of CUDA fails.
    """
    generator = np.random.default_rng(0)
    with cuda.current():
        stream = Stream(cuda)
        first, second = DeviceBuffer(cuda, SIZE), DeviceBuffer(cuda, SIZE)
        sent, received = PinnedBuffer(cuda, SIZE), PinnedBuffer(cuda, SIZE)

        def copy() -> None:
            cuda.upload(first.address, sent.bytes, stream.stream)
            cuda.copy(second.address, first.address, SIZE, stream.stream)
            cuda.download(received.bytes, second.address, stream.stream)

        def is_right(enqueue: Callable[[], None]) -> bool:
            sent.bytes[:] = generator.integers(0, 256, SIZE, dtype=np.uint8)
            enqueue()
            cuda.synchronize(stream.stream)
            return np.array_equal(received.bytes, sent.bytes)

        wrong = [] if is_right(copy) else ["copies"]
        graph = cuda.capture(stream.stream, copy)
        if graph is not None:
            captured = CapturedGraph(cuda, graph)
            if not is_right(lambda: cuda.launch(captured.graph, stream.stream)):
                wrong.append("a captured graph")
    answer = {"package": cuda.package, "captures_graphs": graph is not None}
    return {**answer, "problem": f"other bytes come back from {' and '.join(wrong)}"} if wrong else answer
