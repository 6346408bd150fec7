"""Activation ranges as real episodes give them: support photos unmasked, query photos masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx.utils import Extractor

from hmdrn_calibration.quantization.calibration_data import Pixels, Report
from hmdrn_calibration.quantization.histograms import Extent, Histogram, count, extent_of
from hmdrn_calibration.quantization.ort_session import open_session
from hmdrn_calibration.quantization.qdq_placement import observed
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.evaluation.evaluation import Preparable, Setting

_BATCH = 8
"""Photos at once: every observed tensor of theirs is in memory."""

_MANY = 1 << 18


@dataclass(frozen=True, eq=False)
class _Probe:
    """Part of a graph that gives some of its tensors for photos."""

    model: onnx.ModelProto
    tensors: tuple[str, ...]
    photos: Pixels


def observe(
    models: Mapping[str, onnx.ModelProto],
    classes: Sequence[Sequence[Preparable]],
    preprocessing: str,
    setting: Setting,
    report: Report = lambda what, done, of: None,
) -> dict[str, Histogram]:
    """Histograms of the tensors that the placements quantise.

    The photo graphs of a bundle are cuts of one trace, and share the names of their tensors: each is
    observed once, in the branch that it belongs to. Nothing behind the tokens is quantised, so that the
    solve and the matching, which every episode goes on to, need not run.

    Args:
        models: The FP32 graphs `enroll` and `classify`.
        classes: Photos of each class; only those that are drawn are read.
        preprocessing: As the bundle's.
        setting: The episodes.
        report: Told of the progress.

    Raises:
        DatasetError: Too few classes or photos for such episodes.
        ImageError: A photo that cannot be read.
    """
    support, query = _drawn(classes, preprocessing, setting)
    probes = _probes(models, support, query)
    # The extents first: bins need them, and all values at once would not fit in memory.
    extents: dict[str, Extent] = {}
    for name, values in _values(probes, "finding ranges", report):
        found = extent_of(values)
        extents[name] = extents[name].joined(found) if name in extents else found
    histograms: dict[str, Histogram] = {}
    for name, values in _values(probes, "counting values", report):
        counted = count(_sample(values), extents[name])
        histograms[name] = histograms[name].joined(counted) if name in histograms else counted
    return histograms


def _sample(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Every 17th value of large tensors is plenty for a histogram; no map's size is a multiple of it."""
    return values.ravel()[::17] if values.size > _MANY else values


def _probes(models: Mapping[str, onnx.ModelProto], support: Pixels, query: Pixels) -> tuple[_Probe, _Probe]:
    masked = observed(models["classify"].graph)
    # What `enroll` computes of the masked branch for a gallery is seen on queries, not on support photos.
    unmasked = observed(models["enroll"].graph) - _masked_only(models["enroll"].graph)
    return _probe(models["enroll"], unmasked, support), _probe(models["classify"], masked, query)


def _masked_only(graph: onnx.GraphProto) -> set[str]:
    """The tensors of `enroll` that belong to the masked branch alone."""
    outputs = [value.name for value in graph.output if not value.name.startswith("query")]
    return {name for node in graph.node for name in node.output} - _ancestors(graph, outputs)


def _ancestors(graph: onnx.GraphProto, outputs: Sequence[str]) -> set[str]:
    """The tensors that some tensors depend on, and these themselves."""
    maker = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += maker[name].input if name in maker else ()
    return found


def _drawn(
    classes: Sequence[Sequence[Preparable]], preprocessing: str, setting: Setting
) -> tuple[Pixels, Pixels]:
    """Support and query photos of the episodes, each once."""
    support: dict[tuple[int, int], Preparable] = {}
    query: dict[tuple[int, int], Preparable] = {}
    for episode in sample_episodes(
        [len(photos) for photos in classes],
        way=setting.way,
        shot=setting.shot,
        queries=setting.queries,
        episodes=setting.episodes,
        seed=setting.seed,
    ):
        for chosen, rows in ((support, episode.support), (query, episode.query)):
            for c, members in zip(episode.classes, rows, strict=True):
                chosen.update({(c, i): classes[c][i] for i in members.tolist()})
    first, second = (
        np.stack([photo.prepare(preprocessing) for photo in of.values()]) for of in (support, query)
    )
    return first, second


def _probe(model: onnx.ModelProto, tensors: set[str], photos: Pixels) -> _Probe:
    names = tuple(sorted(tensors))
    part = Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(["images"], list(names))
    return _Probe(part, names, photos)


def _values(
    probes: Sequence[_Probe], what: str, report: Report
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    total, done = sum(len(probe.photos) for probe in probes), 0
    for probe in probes:
        session = open_session(probe.model)
        for start in range(0, len(probe.photos), _BATCH):
            photos = probe.photos[start : start + _BATCH]
            yield from zip(probe.tensors, session.run(list(probe.tensors), {"images": photos}), strict=True)
            done += len(photos)
            report(what, done, total)
