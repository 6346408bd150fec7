"""Activations observed on episodes: the unmasked branch on support photos, the masked one on queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import onnx

from hmdrn_calibration.quantization.calibration_data import Pixels
from hmdrn_calibration.quantization.histograms import Histogram, Range, count_values, measure_range
from hmdrn_calibration.quantization.ort_session import extract_outputs, open_session
from hmdrn_calibration.quantization.qdq_placement import list_observed_tensors
from hmdrn_runtime.datasets.reading import Preparable
from hmdrn_runtime.evaluation.episodes import sample_episodes
from hmdrn_runtime.evaluation.evaluation import EpisodeSetting
from hmdrn_runtime.images.preprocessing import Preprocessing
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

_BATCH = 8
"""Photos at once: all their observed tensors are in memory."""

_LARGE = 1 << 18
"""Values of a tensor above which every 17th is counted."""


def observe_activations(
    models: Mapping[str, onnx.ModelProto],
    classes: Sequence[Sequence[Preparable]],
    preprocessing: Preprocessing,
    setting: EpisodeSetting,
    report: ProgressCallback = ignore_progress,
) -> dict[str, Histogram]:
    """Return histograms of the tensors that the placements quantize.

    The photo graphs of a bundle are parts of one trace and share the names of their tensors: each tensor is
    observed once, in its own branch. Nothing behind the tokens is quantized, so the solve and the matching
    need not run.

    Args:
        models: The FP32 graphs `enroll` and `classify`.
        classes: Photos of each class; only those that are drawn are read.
        preprocessing: The bundle's.
        setting: The episodes.
        report: Receives the progress.

    Raises:
        DatasetError: Too few classes or photos for such episodes.
        ImageError: A photo cannot be read.
    """
    support, query = _draw_photos(classes, preprocessing, setting)
    # What `enroll` computes of the masked branch is observed on queries: `classify` computes it too.
    unmasked = [o.name for o in models["enroll"].graph.output if not o.name.startswith("query")]
    probes = ((extract_outputs(models["enroll"], unmasked), support), (models["classify"], query))
    # Ranges first: bins need them, and all values at once would not fit in memory.
    ranges: dict[str, Range] = {}
    for name, values in _compute_tensors(probes, "finding ranges", report):
        span = measure_range(values)
        ranges[name] = ranges[name].merge(span) if name in ranges else span
    histograms: dict[str, Histogram] = {}
    for name, values in _compute_tensors(probes, "counting values", report):
        # No feature map's size is a multiple of 17.
        sample = values.ravel()[::17] if values.size > _LARGE else values
        counts = count_values(sample, ranges[name])
        histograms[name] = histograms[name].merge(counts) if name in histograms else counts
    return histograms


def _draw_photos(
    classes: Sequence[Sequence[Preparable]], preprocessing: Preprocessing, setting: EpisodeSetting
) -> tuple[Pixels, Pixels]:
    """Read the support and query photos of the episodes, each once, uint8 (N, S, S, 3)."""
    support: dict[tuple[int, int], Preparable] = {}
    query: dict[tuple[int, int], Preparable] = {}
    for episode in sample_episodes([len(photos) for photos in classes], **asdict(setting)):
        for photos, rows in ((support, episode.support), (query, episode.query)):
            for c, members in zip(episode.classes, rows, strict=True):
                photos.update({(c, i): classes[c][i] for i in members.tolist()})
    first, second = (
        np.stack([photo.prepare(preprocessing) for photo in photos.values()]) for photos in (support, query)
    )
    return first, second


def _compute_tensors(
    probes: Sequence[tuple[onnx.ModelProto, Pixels]], step: str, report: ProgressCallback
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield the observed tensors of each graph for its photos, in batches, by name."""
    total, done = sum(len(photos) for _, photos in probes), 0
    for model, photos in probes:
        tensors = sorted(list_observed_tensors(model.graph))
        session = open_session(extract_outputs(model, tensors))
        for start in range(0, len(photos), _BATCH):
            batch = photos[start : start + _BATCH]
            yield from zip(tensors, session.run(tensors, {"images": batch}), strict=True)
            done += len(batch)
            report(step, done, total)
