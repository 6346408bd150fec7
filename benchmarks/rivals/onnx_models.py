"""Rivals exported from torch to one ONNX graph, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from benchmarks.rivals.episode import SHOT, WAY, Classify, Episode
from benchmarks.rivals.torch_models import CachedFeatures, DirectRidge
from hmdrn.cli.options import require_package
from hmdrn_export.graphs.modules import RidgeSolve
from hmdrn_export.graphs.trace_jobs import Subgraph, TraceJob
from hmdrn_export.graphs.tracing import trace_graphs
from hmdrn_network.heads.ridge import gram, pack
from hmdrn_network.hmdrn import HMDRN


class EpisodeGraph(nn.Module):
    """A whole ridge episode, the solve included, as explicit operators."""

    def __init__(self, network: HMDRN) -> None:
        super().__init__()
        self.network, self.solve = network, RidgeSolve(network)

    def forward(self, support: Tensor, images: Tensor) -> Tensor:
        """Map support uint8 (25, S, S, 3), class by class, and a query (1, S, S, 3) to logits (1, 5)."""
        names = self.network.config.levels
        tokens = self.network.encode(support, masked=False)
        packed = torch.cat([pack(gram(tokens[name])) for name in names], dim=1)
        operator, _ = self.solve(packed.reshape(WAY, SHOT, -1).sum(dim=1), torch.full((WAY,), float(SHOT)))
        parts = torch.split(operator, self.solve.sizes, dim=1)
        query = self.network.encode(images, masked=True)
        distances = {
            name: (pack(gram(query[name])) @ part.T).relu() for name, part in zip(names, parts, strict=True)
        }
        logits: Tensor = self.network.fusion(distances)
        return logits


def export_graph(module: nn.Module, **inputs: Tensor) -> bytes:
    """Export a module to an ONNX file with fixed sizes and the weights inside."""
    fixed: dict[str, dict[int, str]] = {name: {} for name in inputs}
    cut = Subgraph(tuple(inputs), {"logits": "logits"})
    model: onnx.ModelProto = trace_graphs(TraceJob(module, inputs, ("logits",), fixed, {"episode": cut}), {})[
        "episode"
    ]
    return bytes(model.SerializeToString())


def export_episode(episode: Episode) -> bytes:
    """Export a whole ridge episode to one graph."""
    return export_graph(EpisodeGraph(episode.ridge), support=_support(episode), images=_image(episode))


def export_cached_features(network: HMDRN, episode: Episode) -> bytes:
    """Export a network with the support tokens as constants; attention's keys and values fold into them."""
    return export_graph(CachedFeatures(network, episode.support).eval(), images=_image(episode))


def export_direct_ridge(episode: Episode) -> bytes:
    """Export direct ridge reconstruction with the classes' H as constants."""
    return export_graph(DirectRidge(episode.ridge, episode.support).eval(), images=_image(episode))


Inputs: TypeAlias = Mapping[str, npt.NDArray[np.uint8]]
Run: TypeAlias = Callable[[Inputs], npt.NDArray[np.float32]]
OpenModel: TypeAlias = Callable[[bytes, int], Run]
"""From an ONNX file and a number of threads to a function that runs it."""


def open_onnxruntime(model: bytes, threads: int) -> Run:
    """Open a graph in ONNX Runtime."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: np.asarray(session.run(["logits"], dict(inputs))[0])


def open_openvino(model: bytes, threads: int) -> Run:
    """Open a graph in OpenVINO, set to low latency and to true FP32."""
    require_package("openvino", "this benchmark", "benchmarks")
    openvino = importlib.import_module("openvino")
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda inputs: np.asarray(request.infer(dict(inputs))["logits"])


def classify_episodes(run: Run, episode: Episode) -> Classify:
    """Return a classifier that passes support and query photos to the graph on every call."""
    support = _support(episode).numpy()
    return lambda photo: run({"support": support, "images": photo[None]})[0]


def classify_queries(run: Run) -> Classify:
    """Return a classifier that passes the query photo alone to the graph."""
    return lambda photo: run({"images": photo[None]})[0]


def _support(episode: Episode) -> Tensor:
    return torch.from_numpy(episode.support).flatten(0, 1)


def _image(episode: Episode) -> Tensor:
    return torch.from_numpy(episode.query[:1])
