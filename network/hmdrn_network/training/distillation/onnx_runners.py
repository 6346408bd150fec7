"""Frozen parts of networks run by ONNX Runtime, many times as fast as torch on a CPU."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hmdrn_network.backbones.base import BackboneSpec
from hmdrn_network.hmdrn import normalize

if TYPE_CHECKING:
    import onnxruntime

_OPSET = 17


class FrozenPrefix(nn.Module):
    """The first stages of a pretrained backbone, from photos to a map with the channels last.

    Args:
        backbone: The network, in evaluation mode.
        spec: Its facts.
        stop: Number of stages to run.
    """

    def __init__(self, backbone: nn.Module, spec: BackboneSpec, stop: int) -> None:
        super().__init__()
        self.backbone, self.spec, self.stop = backbone, spec, stop

    def forward(self, images: Tensor) -> Tensor:
        """Photos (N, S, S, 3) in 0-255 to a map (N, side, side, channels)."""
        x: Tensor = self.backbone.run_prefix(normalize(images, self.spec), self.stop)  # type: ignore[operator]
        return x.permute(0, 2, 3, 1)


class OnnxModule:
    """A module as a session of ONNX Runtime.

    Args:
        module: Takes photos (N, S, S, 3), float32 in 0-255.
        side: S in pixels.
        threads: Threads of the session.
    """

    def __init__(self, module: nn.Module, side: int, threads: int) -> None:
        self.session = _open_session(module, side, threads)

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the module on photos (N, S, S, 3), float32 in 0-255."""
        output: npt.NDArray[np.float32] = self.session.run(None, {"images": images})[0]
        return output


def _open_session(module: nn.Module, side: int, threads: int) -> onnxruntime.InferenceSession:
    from hmdrn_runtime.backends.ort import ort

    buffer = io.BytesIO()
    torch.onnx.export(
        module.eval(),
        (torch.zeros(2, side, side, 3),),
        buffer,  # type: ignore[arg-type] # a file or what can be written to
        input_names=["images"],
        dynamic_axes={"images": {0: "photos"}},
        opset_version=_OPSET,
        dynamo=False,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
