"""What doctor tries in a process of its own: a library that crashes takes that process alone with it.

`python -m hmdrn.doctor.probes WHAT [ARGUMENT]` prints one line of JSON last.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

_ADD = "CAcSADo1Cg4KAXgKAXgSAXkiA0FkZBIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
"""An ONNX model, base64: y = x + x, float32 (1,)."""


def gpu() -> dict[str, Any]:
    """The first GPU, and the newest CUDA that its driver serves."""
    from hmdrn_runtime.backends.cuda_driver import cuda_version, find_gpu

    found = find_gpu()
    return {"name": found.name, "compute_capability": found.compute_capability, "cuda": cuda_version()}


def package(name: str) -> dict[str, Any]:
    """The version of a package that can be imported."""
    return {"version": str(getattr(importlib.import_module(name), "__version__", "unknown"))}


def bindings() -> dict[str, Any]:
    """What TensorRT's memory is managed through."""
    from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda

    return {"name": find_cuda().__name__}


def providers() -> dict[str, Any]:
    """The providers that ONNX Runtime lists."""
    import onnxruntime

    return {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}


def provider(name: str) -> dict[str, Any]:
    """Run the smallest of models on a provider; "used" is what ONNX Runtime ran it on."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2
    session = onnxruntime.InferenceSession(base64.b64decode(_ADD), options, providers=[name])
    (y,) = session.run(None, {"x": np.ones(1, np.float32)})
    return {"used": session.get_providers(), "right": bool(y[0] == 2.0)}


def choice(bundle: str) -> dict[str, Any]:
    """Open a bundle as `hmdrn.load` does, and look at a photo with it."""
    import numpy as np

    from hmdrn.loading import load

    recognizer = load(bundle)
    recognizer.enroll("nothing", np.arange(84 * 84 * 3, dtype=np.uint8).reshape(84, 84, 3))
    recognizer.classify(np.zeros((84, 84, 3), np.uint8))
    report = recognizer.backend_report
    return {
        "backend": report.backend,
        "variant": report.variant,
        "passed_over": dict(report.passed_over),
        "not_used": dict(report.not_used),
        "variants": list(recognizer.bundle.manifest.variants),
    }


TRIALS: dict[str, Callable[..., dict[str, Any]]] = {
    "gpu": gpu,
    "package": package,
    "bindings": bindings,
    "providers": providers,
    "provider": provider,
    "choice": choice,
}


def main(arguments: list[str]) -> None:
    """Run one trial; what it raises is part of the answer."""
    name, *rest = arguments
    try:
        answer = TRIALS[name](*rest)
    except Exception as error:
        from hmdrn_runtime.errors import HmdrnError
        from hmdrn_runtime.messages import one_line

        answer = {"error": str(error) if isinstance(error, HmdrnError) else one_line(error)}
    print(f"\n{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
