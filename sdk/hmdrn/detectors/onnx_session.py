"""A detector's network in ONNX Runtime, and its own description of itself."""

from __future__ import annotations

import ast
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.cuda_driver import find_gpu
from hmdrn_runtime.backends.onnxruntime_cuda import PROVIDER, preload_cuda_libraries
from hmdrn_runtime.backends.ort import ort
from hmdrn_runtime.device.cpu_limits import count_cores
from hmdrn_runtime.errors import BackendError, HmdrnError
from hmdrn_runtime.messages import format_error

_ERROR_SEVERITY = 3
_INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
DEFAULT_SIDE, DEFAULT_STRIDE = 640, 32
"""Longer side and stride of an input of dynamic size, if the metadata do not give them."""


@dataclass(frozen=True)
class DetectorMetadata:
    """Metadata that ultralytics writes into a network.

    Attributes:
        names: Names of the classes by their numbers; empty if unknown.
        side: Longer side of an input of dynamic size, in pixels.
        stride: Multiple that both its sides are.
        end_to_end: True if the network removes duplicates itself.
    """

    names: dict[int, str]
    side: int = DEFAULT_SIDE
    stride: int = DEFAULT_STRIDE
    end_to_end: bool = False


class OnnxSession:
    """A network with one image as its input.

    Args:
        path: The ONNX file.
        threads: CPU threads for one call; all cores if None.

    Attributes:
        metadata: The network's metadata.
        size: Width and height of its input in pixels; None for a side of dynamic size.

    Raises:
        HmdrnError: The file is missing, or the network does not take one image.
        BackendError: ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        self._session = _open_session(path, threads)
        inputs = self._session.get_inputs()
        shape, kind = list(inputs[0].shape), inputs[0].type
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or kind not in _INPUT_TYPES:
            raise HmdrnError(
                f"the detector {path} takes {[(value.shape, value.type) for value in inputs]}: expected one "
                "float image of (1, 3, height, width), as ultralytics exports it with format=onnx"
            )
        if isinstance(shape[0], int) and shape[0] != 1:
            raise HmdrnError(f"the detector {path} takes {shape[0]} images at once: export it with batch=1")
        self._input, self._type = inputs[0].name, _INPUT_TYPES[kind]
        self.size: tuple[int | None, int | None] = (_fixed(shape[3]), _fixed(shape[2]))
        self.metadata: DetectorMetadata = _parse_metadata(self._session.get_modelmeta().custom_metadata_map)

    def run(self, image: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the first output for an image, RGB 0-1 of (1, 3, height, width).

        Raises:
            BackendError: ONNX Runtime cannot run it.
        """
        try:
            outputs = self._session.run(None, {self._input: image.astype(self._type, copy=False)})
        except Exception as error:  # ONNX Runtime's exceptions have no other base class in common
            raise BackendError(f"ONNX Runtime could not run the detector: {format_error(error)}") from error
        return np.asarray(outputs[0])


def _open_session(path: Path, threads: int | None) -> Any:
    if not path.is_file():
        raise HmdrnError(f"no such detector: {path}; give the ONNX file that ultralytics exports")
    options = ort.SessionOptions()
    options.log_severity_level = _ERROR_SEVERITY
    options.intra_op_num_threads = threads or count_cores()
    providers: list[Any] = ["CPUExecutionProvider"]
    if PROVIDER in ort.get_available_providers():
        with contextlib.suppress(BackendError):  # no GPU
            find_gpu()
            preload_cuda_libraries()
            providers.insert(0, PROVIDER)
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise BackendError(
            f"ONNX Runtime could not load the detector {path}: {format_error(error)}"
        ) from error


def _fixed(side: object) -> int | None:
    return side if isinstance(side, int) and side > 0 else None


def _parse_metadata(values: dict[str, str]) -> DetectorMetadata:
    names = _parse(values, "names")
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    known = {int(number): str(name) for number, name in pairs if str(number).isdecimal()}
    size, stride, arguments = (_parse(values, key) for key in ("imgsz", "stride", "args"))
    sides = [size] if isinstance(size, int) else size if isinstance(size, list | tuple) else []
    side = max((side for side in sides if isinstance(side, int) and side > 0), default=DEFAULT_SIDE)
    exported_with_nms = isinstance(arguments, dict) and arguments.get("nms") is True
    return DetectorMetadata(
        known,
        side,
        stride if isinstance(stride, int) and stride > 0 else DEFAULT_STRIDE,
        exported_with_nms or _parse(values, "end2end") is True,
    )


def _parse(values: dict[str, str], key: str) -> object:
    """Return a value that is written as Python; None if it is missing or damaged."""
    try:
        return ast.literal_eval(values[key])
    except (KeyError, ValueError, SyntaxError, MemoryError, RecursionError):
        return None
