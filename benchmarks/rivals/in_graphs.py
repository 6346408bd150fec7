"""Rivals that are exported from torch to one ONNX graph, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from benchmarks.rivals.episode import SHOT, WAY, Classify, Episode, Pixels
from benchmarks.rivals.in_torch import CachedFeatures, DirectRidge
from hmdrn.cli.options import require
from hmdrn_export.graphs.modules import Cut, Solve, Trace
from hmdrn_export.graphs.tracing import trace
from hmdrn_network.heads.ridge import gram, pack
from hmdrn_network.hmdrn import HMDRN


class EpisodeGraph(nn.Module):
    """A whole episode, the solve included, as explicit operators."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        self.network, self.solve = network, Solve(network)

    def forward(self, support: Tensor, images: Tensor) -> Tensor:
        """uint8 (25, 84, 84, 3) class by class and (1, 84, 84, 3), to logits (1, 5)."""
        names = self.network.config.levels
        tokens = self.network.encode(support, masked=False)
        packed = torch.cat([pack(gram(tokens[name])) for name in names], dim=1)
        operator, _ = self.solve(packed.unflatten(0, (WAY, SHOT)).sum(dim=1), torch.full((WAY,), float(SHOT)))
        parts = torch.split(operator, self.solve.sizes, dim=1)
        query = self.network.encode(images, masked=True)
        distances = {
            name: (pack(gram(query[name])) @ part.T).relu() for name, part in zip(names, parts, strict=True)
        }
        logits: Tensor = self.network.fusion(distances)
        return logits


def graph_of(module: nn.Module, **inputs: Tensor) -> bytes:
    """A module as an ONNX file with fixed sizes, weights inside."""
    fixed = {name: {} for name in inputs}
    cut = Cut(tuple(inputs), {"logits": "logits"})
    model: onnx.ModelProto = trace(Trace(module, inputs, ("logits",), fixed, {"episode": cut}), {})["episode"]
    return model.SerializeToString()


def episode_graph(episode: Episode) -> bytes:
    """A ridge episode as one graph."""
    return graph_of(EpisodeGraph(episode.ridge), support=_support(episode), images=_image(episode))


def cached_graph(network: HMDRN, episode: Episode) -> bytes:
    """A network with the support's tokens as constants; attention's keys and values fold into constants."""
    return graph_of(CachedFeatures(network, episode.support).eval(), images=_image(episode))


def direct_graph(episode: Episode) -> bytes:
    """Direct ridge reconstruction with the classes' H as constants."""
    return graph_of(DirectRidge(episode.ridge, episode.support).eval(), images=_image(episode))


Inputs = Mapping[str, npt.NDArray[np.uint8]]
Run = Callable[[Inputs], npt.NDArray[np.float32]]


def in_onnxruntime(model: bytes, threads: int) -> Run:
    """Run a graph in ONNX Runtime."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: np.asarray(session.run(["logits"], dict(inputs))[0])


def in_openvino(model: bytes, threads: int) -> Run:
    """Run a graph in OpenVINO, told that latency matters and that FP32 is to be computed as such."""
    require("openvino", "this benchmark", "benchmarks")
    openvino = importlib.import_module("openvino")
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda inputs: np.asarray(request.infer(dict(inputs))["logits"])


def whole(run: Run, episode: Episode) -> Classify:
    """Support and query photos to the graph every time."""
    support = _support(episode).numpy()
    return lambda photo: run({"support": support, "images": photo[None]})[0]


def query_alone(run: Run) -> Classify:
    """The query photo alone to the graph."""

    def classify(photo: Pixels) -> np.ndarray:
        return run({"images": photo[None]})[0]

    return classify


def _support(episode: Episode) -> Tensor:
    return torch.from_numpy(episode.support).flatten(0, 1)


def _image(episode: Episode) -> Tensor:
    return torch.from_numpy(episode.query[:1])
