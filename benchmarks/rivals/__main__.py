"""Classifying one prepared photo, 5-way 5-shot, Conv-4: our runtime against what one would pick instead.

python -m benchmarks.rivals [--only TEXT] [--allow-busy] [--json]

Every rival has the quicker of 1 and 2 threads. Before anything is timed, those that compute the same give the
same logits as the network in torch. They are timed in turns, each in a process of its own, and each ratio is
of one run, with its interval.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

import hmdrn
from benchmarks.common import Bench, Result, Table, main, ms
from benchmarks.rivals import in_graphs, in_torch
from benchmarks.rivals.apart import Apart
from benchmarks.rivals.episode import Classify, Episode, Pixels, make_episode
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.profiling.latency import Latency
from hmdrn_runtime.profiling.ratios import ratio_of_medians
from hmdrn_runtime.profiling.timing import Plan
from hmdrn_runtime.recognizer import Recognizer

OURS = "hmdrn: classify"
INSIDE = "hmdrn: its graph alone"


@dataclass(frozen=True)
class Rival:
    """One way to classify.

    Attributes:
        name: What it is.
        network: Whose logits it must give.
        make: Prepares it for a number of threads.
    """

    name: str
    network: HMDRN
    make: Callable[[int], Classify]


def rivals(episode: Episode) -> Iterator[tuple[str, Callable[[], Rival]]]:
    """All of them by name, ours first; one is prepared, which may take half a minute, when it is called."""
    ridge, attention, protonet = episode.ridge, episode.attention, episode.protonet

    def torch_rival(name: str, network: HMDRN, make: Callable[..., Classify]) -> Rival:
        return Rival(name, network, partial(make, network, episode))

    def graph_rival(
        name: str, network: HMDRN, model: Callable[[], bytes], run: Callable[[bytes, int], in_graphs.Run]
    ) -> Rival:
        graph = model()
        whole = "episode" in name
        return Rival(
            name,
            network,
            lambda n: (
                in_graphs.whole(run(graph, n), episode) if whole else in_graphs.query_alone(run(graph, n))
            ),
        )

    in_torch_eager = [
        ("authors' procedure (attention), torch", attention, in_torch.whole_episode),
        ("the same with ridge heads, torch", ridge, in_torch.whole_episode),
        ("cached support features, torch", ridge, in_torch.cached_features),
        ("cached support features, torch.compile", ridge, in_torch.compiled_features),
        ("direct ridge reconstruction, torch", ridge, in_torch.direct_ridge),
        ("attention head, cached features, torch", attention, in_torch.cached_features),
        ("ProtoNet, cached features, torch", protonet, in_torch.cached_features),
    ]
    episodes = partial(in_graphs.episode_graph, episode)
    in_one_graph = [
        ("whole-episode graph, ONNX Runtime", ridge, episodes, in_graphs.in_onnxruntime),
        ("whole-episode graph, OpenVINO", ridge, episodes, in_graphs.in_openvino),
        (
            "direct ridge reconstruction, ONNX Runtime",
            ridge,
            partial(in_graphs.direct_graph, episode),
            in_graphs.in_onnxruntime,
        ),
        (
            "attention head, cached features, ONNX Runtime",
            attention,
            partial(in_graphs.cached_graph, attention, episode),
            in_graphs.in_onnxruntime,
        ),
        (
            "ProtoNet, cached features, ONNX Runtime",
            protonet,
            partial(in_graphs.cached_graph, protonet, episode),
            in_graphs.in_onnxruntime,
        ),
    ]
    yield OURS, lambda: Rival(OURS, ridge, partial(ours, episode))
    yield INSIDE, lambda: Rival(INSIDE, ridge, partial(graph_alone, episode))
    for name, network, make in in_torch_eager:
        yield name, partial(torch_rival, name, network, make)
    for name, network, model, run in in_one_graph:
        yield name, partial(graph_rival, name, network, model, run)


def ours(episode: Episode, threads: int) -> Classify:
    """The runtime as a user calls it: a photo in, a ranking with probabilities out."""
    birds = enrolled(episode, threads)

    def classify(photo: Pixels) -> np.ndarray:
        ranking = birds.classify(photo).ranking
        logits = {match.label: match.logit for match in ranking}
        return np.array([logits[label] for label in birds.gallery], np.float32)

    return classify


def graph_alone(episode: Episode, threads: int) -> Classify:
    """The runtime's network and matching without what makes a prediction of logits."""
    birds = enrolled(episode, threads)
    species = list(birds.gallery.species.values())
    operands = birds.matcher.place(birds.matcher.class_operands(species))
    return lambda photo: birds.matcher.classify(photo[None], operands).logits[0]


def enrolled(episode: Episode, threads: int) -> Recognizer:
    """The default model with the episode's species, named by their numbers."""
    birds = hmdrn.load("default", threads=threads)
    for label, photos in enumerate(episode.support):
        birds.enroll(str(label), photos)
    return birds


def _in_turns(apart: Mapping[str, Apart], bench: Bench) -> dict[str, np.ndarray]:
    """Medians of every rival's turns, in seconds; as many turns as runs are asked for."""
    taken: dict[str, list[float]] = {name: [] for name in apart}
    for _ in range(bench.plan.runs):
        for name, rival in apart.items():
            taken[name].append(rival.turn(bench.plan.seconds / bench.plan.runs))
            bench.quiet.look()
    return {name: np.array(times) for name, times in taken.items()}


def options(parser: argparse.ArgumentParser) -> None:
    """What to measure."""
    parser.add_argument("--only", metavar="TEXT", help="only rivals whose name has this text, and ours")


def measure(bench: Bench) -> Result:
    """Check all rivals, then time them in turns."""
    episode, only = make_episode(), bench.arguments.only
    names = [name for name, _ in rivals(episode) if name == OURS or not only or only in name]
    apart: dict[str, Apart] = {}
    try:
        for name in names:
            apart[name] = Apart(name)
            bench.quiet.look()
        times = _in_turns(apart, bench)
    finally:
        for rival in apart.values():
            rival.close()
    latencies = {name: Latency.of(seconds) for name, seconds in times.items()}
    ratios = {name: ratio_of_medians(seconds, times[OURS]) for name, seconds in times.items()}
    entries = [
        {
            "name": name,
            "threads": apart[name].ready.threads,
            "logit_difference": apart[name].ready.difference,
            "latency": latencies[name].to_dict(),
            "times_ours": ratios[name].to_dict(),
        }
        for name in names
    ]
    rows = [
        [
            name,
            str(apart[name].ready.threads),
            ms(latencies[name].p50 / 1e3),
            str(ratios[name]),
            f"{apart[name].ready.difference:.1e}",
        ]
        for name in sorted(names, key=lambda name: latencies[name].p50)
    ]
    columns = ["way", "threads", "median", "times ours (95 %)", "logits off by"]
    return Result(
        {"way": len(episode.support), "shot": episode.support.shape[1], "rivals": entries},
        [Table("one photo, 5-way 5-shot, Conv-4", columns, rows)],
    )


if __name__ == "__main__":
    sys.exit(main("rivals/1", __doc__, measure, options, Plan(seconds=2.0, runs=40, limit=8.0)))
