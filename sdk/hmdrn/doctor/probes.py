"""Probes of libraries that may crash, each run in a process of its own.

`python -m hmdrn.doctor.probes NAME [ARGUMENT]` prints one line of JSON last.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

_ADD = "CAcSADo1Cg4KAXgKAXgSAXkiA0FkZBIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
"""An ONNX model, base64: y = x + x, float32 (1,)."""


def probe_gpu() -> dict[str, Any]:
    """Find the first GPU, and the newest CUDA that its driver serves."""
    from hmdrn_runtime.backends.cuda_driver import find_gpu, read_cuda_version

    gpu = find_gpu()
    return {"name": gpu.name, "compute_capability": gpu.compute_capability, "cuda": read_cuda_version()}


def probe_package(name: str) -> dict[str, Any]:
    """Import a package, for its version."""
    try:
        package = importlib.import_module(name)
    except Exception as error:
        from hmdrn.watching.opencv import explain_import_error

        return {"error": explain_import_error(error)}
    return {"version": str(getattr(package, "__version__", "unknown"))}


def probe_bindings() -> dict[str, Any]:
    """Start the bindings that manage TensorRT's memory."""
    from hmdrn_runtime.backends.tensorrt.cuda.find import find_cuda, open_cuda

    cuda = open_cuda(find_cuda())
    return {"name": cuda.package, "captures_graphs": cuda.captures_graphs}


def probe_providers() -> dict[str, Any]:
    """List the providers of ONNX Runtime."""
    from hmdrn_runtime.backends.ort import ort

    return {"version": ort.__version__, "providers": ort.get_available_providers()}


def probe_provider(name: str) -> dict[str, Any]:
    """Run a minimal model on a provider; "used" names the providers that ONNX Runtime ran it on."""
    import numpy as np

    from hmdrn_runtime.backends.onnxruntime_cuda import PROVIDER, preload_cuda_libraries
    from hmdrn_runtime.backends.ort import ort

    if name == PROVIDER:
        preload_cuda_libraries()
    options = ort.SessionOptions()
    options.log_severity_level = 2
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(base64.b64decode(_ADD), options, providers=[name])
    (y,) = session.run(None, {"x": np.ones(1, np.float32)})
    return {"used": session.get_providers(), "right": bool(y[0] == 2.0)}


def probe_choice(bundle: str) -> dict[str, Any]:
    """Open a bundle as `hmdrn.load` does, and classify a photo with it."""
    import numpy as np

    from hmdrn.loading import load
    from hmdrn_runtime.backends.stored_profile import load_profile

    recognizer = load(bundle)
    side = recognizer.preprocessing.side
    recognizer.enroll("nothing", np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3))
    recognizer.classify(np.zeros((side, side, 3), np.uint8))
    report = recognizer.backend_report
    return {
        "backend": report.backend,
        "variant": report.variant,
        "passed_over": dict(report.passed_over),
        "not_used": dict(report.not_used),
        "variants": list(recognizer.bundle.manifest.variants),
        "engine_check": getattr(recognizer.backend, "engine_check", None),
        "stored_profile": asdict(load_profile(recognizer.bundle, report.backend)),
    }


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    "gpu": probe_gpu,
    "package": probe_package,
    "bindings": probe_bindings,
    "providers": probe_providers,
    "provider": probe_provider,
    "choice": probe_choice,
}


def answer_call(functions: Mapping[str, Callable[..., dict[str, Any]]], name: str, *arguments: str) -> None:
    """Call a function by its name and print its answer; an exception is the answer too."""
    try:
        answer = functions[name](*arguments)
    except Exception as error:
        from hmdrn_runtime.errors import HmdrnError
        from hmdrn_runtime.messages import format_error

        answer = {"error": str(error) if isinstance(error, HmdrnError) else format_error(error)}
    print(f"\n{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    answer_call(PROBES, *sys.argv[1:])
