"""Profiling of a recognizer on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.images.decoding import ImageSource
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.profiling.conditions import ConditionsMonitor
from hmdrn_runtime.profiling.enrollment import measure_enrollment
from hmdrn_runtime.profiling.inputs import (
    count_operand_bytes,
    make_camera_frame,
    make_jpeg_photo,
    resize_gallery,
)
from hmdrn_runtime.profiling.latency import Latency, throughput
from hmdrn_runtime.profiling.operators import measure_node_times, sum_by_operator
from hmdrn_runtime.profiling.result import LatencyPoint, Profile
from hmdrn_runtime.profiling.stages import measure_stages
from hmdrn_runtime.profiling.timing import Call, TimingPlan, time_single_stream
from hmdrn_runtime.progress import ProgressCallback, ignore_progress
from hmdrn_runtime.recognizer import Recognizer

SOURCES: Mapping[str, Callable[[], ImageSource]] = {"jpeg": make_jpeg_photo, "frame": make_camera_frame}
"""Inputs: the bytes of a JPEG of 500 x 375 pixels, and a camera frame of 1920 x 1080."""
_NODE_RUNS = 50
_MAX_OPERAND_BYTES = 64 << 20


@dataclass(frozen=True)
class ProfileSettings:
    """Extent of a profile.

    Attributes:
        sources: Names of `SOURCES`.
        batches: Numbers of photos in a call.
        species: Numbers of species.
        threads: Numbers of CPU threads.
        used_threads: CPU threads of all other measurements; all cores if None.
        plan: Duration of each measurement.

    Examples:
        >>> settings = hmdrn.ProfileSettings(batches=(1, 8), species=(5, 1000))
        >>> settings.batches
        (1, 8)
    """

    sources: tuple[str, ...] = ("jpeg", "frame")
    batches: tuple[int, ...] = (1, 8, 32)
    species: tuple[int, ...] = (5, 100, 1000)
    threads: tuple[int, ...] = (1, 2)
    used_threads: int | None = None
    plan: TimingPlan = field(default_factory=TimingPlan)


def profile_bundle(
    recognizer: Recognizer, settings: ProfileSettings, report: ProgressCallback = ignore_progress
) -> Iterator[Profile]:
    """Measure a recognizer, part by part.

    Args:
        recognizer: A recognizer with at least one species; its gallery is left unchanged.
        settings: The parts to measure.
        report: Receives the progress.

    Yields:
        After every part, the result so far, so that an interruption loses nothing.

    Raises:
        HmdrnError: The gallery is empty, or a setting does not run.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> settings = hmdrn.ProfileSettings(("jpeg",), batches=(1,), species=(5,), threads=(1,))
        >>> for profile in hmdrn.profile_bundle(birds, settings):
        ...     species = profile.species
        >>> species
        4
    """
    check_kind(recognizer, Recognizer, "recognizer", "pass what hmdrn.load returns")
    check_kind(settings, ProfileSettings, "settings", "pass a hmdrn.ProfileSettings")
    if not len(recognizer.gallery):
        raise HmdrnError("the gallery has no species to classify: enroll some, or give another gallery")
    monitor, plan = ConditionsMonitor(), settings.plan
    pixels = prepare(SOURCES["jpeg"](), recognizer.preprocessing)
    total = sum(map(len, (settings.sources, settings.batches, settings.species, settings.threads))) + 2
    steps = count()

    def begin(step: str) -> None:
        report(step, next(steps), total)

    def measure(value: int, call: Call, photos: int = 1) -> LatencyPoint:
        seconds = time_single_stream(call, plan, monitor.sample_power)
        return LatencyPoint(value, Latency.from_seconds(seconds), throughput(seconds, photos))

    result = Profile(monitor.summarize(), len(recognizer.gallery))
    for source in settings.sources:
        begin(f"from {source} to prediction")
        monitor.take_mean_watts()  # drops the samples of earlier measurements
        stages = {
            **result.stages,
            source: measure_stages(recognizer, SOURCES[source](), plan, monitor.sample_power),
        }
        mean_watts = monitor.take_mean_watts()
        watts = result.watts if mean_watts is None else {**result.watts, source: mean_watts}
        result = replace(result, stages=stages, watts=watts, conditions=monitor.summarize())
        yield result
    begin("enrollment")
    enrollment = measure_enrollment(recognizer, SOURCES["jpeg"](), plan, monitor.sample_power)
    result = replace(result, enrollment=enrollment)
    yield result
    for photos in settings.batches:
        begin(f"{photos} photos at once")
        point = measure(photos, partial(recognizer.classify_batch, [pixels] * photos), photos)
        result = replace(result, batches=(*result.batches, point))
        yield result
    for species in settings.species:
        begin(f"{species} species")
        gallery = resize_gallery(recognizer.gallery, species)
        point = measure(
            species, partial(_reopen(recognizer, gallery, settings.used_threads).classify, pixels)
        )
        result = replace(result, by_species=(*result.by_species, point))
        yield result
    for threads in settings.threads:
        begin(f"{threads} threads")
        point = measure(threads, partial(_reopen(recognizer, recognizer.gallery, threads).classify, pixels))
        result = replace(result, by_threads=(*result.by_threads, point))
        yield result
    begin("operators")
    graph, inputs = _select_graph(recognizer, pixels)
    nodes = measure_node_times(
        recognizer.bundle, recognizer.backend, graph, inputs, settings.used_threads, _NODE_RUNS
    )
    yield replace(result, operators=tuple(sum_by_operator(nodes)), conditions=monitor.summarize())


def limit_species_counts(recognizer: Recognizer, counts: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of species with at most 64 MiB of operands; more take long to solve."""
    species = next(iter(recognizer.gallery.species.values()))
    size = count_operand_bytes(recognizer.bundle.manifest.network, species)
    return tuple(number for number in counts if number * size <= _MAX_OPERAND_BYTES)


def _reopen(recognizer: Recognizer, gallery: Gallery, threads: int | None) -> Recognizer:
    """Open the same bundle and backend with another gallery or number of threads."""
    backend = open_backend(recognizer.bundle, recognizer.backend.name, threads)
    return Recognizer(recognizer.bundle, backend, gallery)


def _select_graph(
    recognizer: Recognizer, pixels: npt.NDArray[np.uint8]
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """Return the graph that classifies, and its inputs for one photo; many species are matched outside it."""
    images = {"images": pixels[None]}
    if not isinstance(recognizer.solved_gallery.current().operands, Mapping):
        return "encode", images
    species = list(recognizer.gallery.species.values())
    return "classify", {**images, **recognizer.matcher.class_operands(species)}
