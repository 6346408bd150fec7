"""ONNX Runtime on an NVIDIA GPU, through its CUDA provider."""

from __future__ import annotations

import onnxruntime as ort

from hmdrn_runtime.backends.cuda_driver import find_gpu
from hmdrn_runtime.backends.onnxruntime import OnnxRuntimeBackend
from hmdrn_runtime.bundle.bundle import Bundle
from hmdrn_runtime.errors import BackendError

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeCudaBackend(OnnxRuntimeBackend):
    """As `OnnxRuntimeBackend`, on the GPU; what is placed stays in its memory.

    ONNX Runtime falls back to the CPU with no more than a line in its log: the first session is made at once,
    and must have the provider.

    Args:
        bundle: What to run.
        threads: CPU threads for what the GPU leaves; all cores if None.

    Raises:
        BackendError: There is no GPU, or the provider does not load.
    """

    name = "onnxruntime-cuda"
    # With TF32 products the ridge solve stalls near 1 %.
    providers = ((PROVIDER, {"use_tf32": "0"}), "CPUExecutionProvider")
    device = "cuda"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        super().__init__(bundle, threads)
        find_gpu()
        if PROVIDER not in ort.get_available_providers():
            raise BackendError(
                "the installed onnxruntime has no CUDA provider: install onnxruntime-gpu in its place"
            )
        self.session("classify")

    def _load(self, graph: str) -> ort.InferenceSession:
        session = super()._load(graph)
        if PROVIDER not in session.get_providers():
            raise BackendError(
                "onnxruntime-gpu did not load its CUDA provider and would run on "
                f"{session.get_providers()[0]}: install the CUDA and cuDNN libraries that it asks for, or "
                "use backend='onnxruntime'"
            )
        return session
