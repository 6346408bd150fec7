"""All rivals by name, each prepared only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

import hmdrn
from benchmarks.rivals import onnx_models, torch_models
from benchmarks.rivals.episode import Classify, Episode, Pixels
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.recognizer import Recognizer

RUNTIME = "hmdrn: classify"
RUNTIME_GRAPH = "hmdrn: its graph alone"


@dataclass(frozen=True)
class Rival:
    """A way to classify a photo.

    Attributes:
        name: Its name in tables and JSON.
        network: The network whose logits it must reproduce.
        make: Builds its classifier for a number of threads.
    """

    name: str
    network: HMDRN
    make: Callable[[int], Classify]


def list_rivals(episode: Episode) -> Iterator[tuple[str, Callable[[], Rival]]]:
    """Yield each rival's name and a function that prepares it (up to half a minute); hmdrn comes first."""
    ridge, attention, protonet = episode.ridge, episode.attention, episode.protonet
    yield RUNTIME, lambda: Rival(RUNTIME, ridge, partial(make_runtime_classifier, episode))
    yield RUNTIME_GRAPH, lambda: Rival(RUNTIME_GRAPH, ridge, partial(make_graph_classifier, episode))
    for name, network, make in (
        ("authors' procedure (attention), torch", attention, torch_models.make_whole_episode),
        ("the same with ridge heads, torch", ridge, torch_models.make_whole_episode),
        ("cached support features, torch", ridge, torch_models.make_cached_features),
        ("cached support features, torch.compile", ridge, torch_models.make_compiled_features),
        ("direct ridge reconstruction, torch", ridge, torch_models.make_direct_ridge),
        ("attention head, cached features, torch", attention, torch_models.make_cached_features),
        ("ProtoNet, cached features, torch", protonet, torch_models.make_cached_features),
    ):
        yield name, partial(Rival, name, network, partial(make, network, episode))
    onnxruntime, openvino = onnx_models.open_onnxruntime, onnx_models.open_openvino
    export_episode = partial(onnx_models.export_episode, episode)
    for name, open_model in (
        ("whole-episode graph, ONNX Runtime", onnxruntime),
        ("whole-episode graph, OpenVINO", openvino),
    ):
        yield name, partial(_make_episode_rival, name, ridge, export_episode, open_model, episode)
    for name, network, export in (
        (
            "direct ridge reconstruction, ONNX Runtime",
            ridge,
            partial(onnx_models.export_direct_ridge, episode),
        ),
        (
            "attention head, cached features, ONNX Runtime",
            attention,
            partial(onnx_models.export_cached_features, attention, episode),
        ),
        (
            "ProtoNet, cached features, ONNX Runtime",
            protonet,
            partial(onnx_models.export_cached_features, protonet, episode),
        ),
    ):
        yield name, partial(_make_query_rival, name, network, export, onnxruntime)


def make_runtime_classifier(episode: Episode, threads: int) -> Classify:
    """Return the runtime as a user calls it: from a photo to a ranking with probabilities."""
    birds = enroll_episode(episode, threads)

    def classify(photo: Pixels) -> np.ndarray:
        logits = {match.label: match.logit for match in birds.classify(photo).ranking}
        return np.array([logits[label] for label in birds.gallery], np.float32)

    return classify


def make_graph_classifier(episode: Episode, threads: int) -> Classify:
    """Return the runtime's network and matching, without turning logits into a prediction."""
    birds = enroll_episode(episode, threads)
    species = list(birds.gallery.species.values())
    operands = birds.matcher.place(birds.matcher.class_operands(species))
    return lambda photo: birds.matcher.classify(photo[None], operands).logits[0]


def enroll_episode(episode: Episode, threads: int) -> Recognizer:
    """Load the default model and enroll the episode's species, labeled by their index."""
    # In float32 like every rival: the graphs that are the fastest here may be quantized.
    birds = hmdrn.load("default", threads=threads, variant="fp32")
    for label, photos in enumerate(episode.support):
        birds.enroll(str(label), photos)
    return birds


def _make_episode_rival(
    name: str,
    network: HMDRN,
    export: Callable[[], bytes],
    open_model: onnx_models.OpenModel,
    episode: Episode,
) -> Rival:
    model = export()
    return Rival(
        name, network, lambda threads: onnx_models.classify_episodes(open_model(model, threads), episode)
    )


def _make_query_rival(
    name: str, network: HMDRN, export: Callable[[], bytes], open_model: onnx_models.OpenModel
) -> Rival:
    model = export()
    return Rival(name, network, lambda threads: onnx_models.classify_queries(open_model(model, threads)))
