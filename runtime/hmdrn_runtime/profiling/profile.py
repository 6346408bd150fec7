"""All that is measured of a bundle on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.images.preprocessing import ImageSource, prepare
from hmdrn_runtime.profiling.conditions import Watch
from hmdrn_runtime.profiling.enrollment import measure_enrollment
from hmdrn_runtime.profiling.inputs import camera_frame, gallery_of, jpeg_photo, operand_bytes
from hmdrn_runtime.profiling.latency import Latency, throughput
from hmdrn_runtime.profiling.operators import by_operator, node_times
from hmdrn_runtime.profiling.result import Point, Profile
from hmdrn_runtime.profiling.stages import measure_stages
from hmdrn_runtime.profiling.timing import Call, Plan, single_stream
from hmdrn_runtime.recognizer import Recognizer

SOURCES: Mapping[str, Callable[[], ImageSource]] = {"jpeg": jpeg_photo, "frame": camera_frame}
"""What is classified: the bytes of a JPEG of 500 x 375 pixels, a camera's frame of 1920 x 1080."""
_NODE_RUNS = 50
_AFFORDABLE = 64 << 20

Report: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        sources: Of `SOURCES`.
        batches: Numbers of photos in a call.
        species: Numbers of species.
        threads: Numbers of CPU threads.
        used_threads: CPU threads of all other measurements; all cores if None.
        plan: How long to measure each.
    """

    sources: tuple[str, ...] = ("jpeg", "frame")
    batches: tuple[int, ...] = (1, 8, 32)
    species: tuple[int, ...] = (5, 100, 1000)
    threads: tuple[int, ...] = (1, 2)
    used_threads: int | None = None
    plan: Plan = field(default_factory=Plan)


def profile(
    recognizer: Recognizer, settings: Settings, report: Report = lambda what, done, of: None
) -> Iterator[Profile]:
    """Measure a recognizer, part by part.

    Args:
        recognizer: With at least one species; its gallery is left as it is.
        settings: What to measure.
        report: Told of the progress.

    Yields:
        After every part all that was found so far: whoever is interrupted still has the last.

    Raises:
        HmdrnError: There is no species, or what is asked for does not run.
    """
    if not len(recognizer.gallery):
        raise HmdrnError("there is no species to be told apart: enroll some, or give another gallery")
    watch, plan = Watch(), settings.plan
    pixels = prepare(SOURCES["jpeg"](), recognizer.bundle.manifest.input.preprocessing)
    steps = sum(map(len, (settings.sources, settings.batches, settings.species, settings.threads))) + 2
    done = 0

    def begin(what: str) -> None:
        nonlocal done
        report(what, done, steps)
        done += 1

    def timed(value: int, call: Call, photos: int = 1) -> Point:
        seconds = single_stream(call, plan, watch.look)
        return Point(value, Latency.of(seconds), throughput(seconds, photos))

    def classifying(other: Recognizer) -> Call:
        return lambda: other.classify(pixels)

    found = Profile(watch.conditions(), len(recognizer.gallery))
    for source in settings.sources:
        begin(f"from {source} to prediction")
        watch.watts()  # what others drew before is not this source's
        one = measure_stages(recognizer, SOURCES[source](), plan, watch.look)
        drawn = watch.watts()
        watts = found.watts if drawn is None else {**found.watts, source: drawn}
        stages = {**found.stages, source: one}
        found = replace(found, stages=stages, watts=watts, conditions=watch.conditions())
        yield found
    begin("enrollment")
    found = replace(found, enrollment=measure_enrollment(recognizer, SOURCES["jpeg"](), plan, watch.look))
    yield found
    for count in settings.batches:
        begin(f"{count} photos at once")
        point = timed(count, partial(recognizer.classify_batch, [pixels] * count), count)
        found = replace(found, batches=(*found.batches, point))
        yield found
    for count in settings.species:
        begin(f"{count} species")
        larger = _with(recognizer, gallery_of(recognizer.gallery, count), settings.used_threads)
        found = replace(found, by_species=(*found.by_species, timed(count, classifying(larger))))
        yield found
    for count in settings.threads:
        begin(f"{count} threads")
        other = _with(recognizer, recognizer.gallery, count)
        found = replace(found, by_threads=(*found.by_threads, timed(count, classifying(other))))
        yield found
    begin("operators")
    graph, inputs = _classifying_graph(recognizer, pixels)
    nodes = node_times(
        recognizer.bundle, recognizer.backend, graph, inputs, settings.used_threads, _NODE_RUNS
    )
    yield replace(found, operators=tuple(by_operator(nodes)), conditions=watch.conditions())


def affordable(recognizer: Recognizer, counts: Sequence[int]) -> tuple[int, ...]:
    """Of numbers of species those whose operands stay within 64 MiB: wide networks' take long to solve."""
    each = operand_bytes(recognizer.bundle.manifest.network, next(iter(recognizer.gallery.species.values())))
    return tuple(count for count in counts if count * each <= _AFFORDABLE)


def _with(recognizer: Recognizer, gallery: Gallery, threads: int | None) -> Recognizer:
    """The same bundle on the same kind of backend, with another gallery or number of threads."""
    backend = open_backend(recognizer.bundle, recognizer.backend.name, threads)
    return Recognizer(recognizer.bundle, backend, gallery)


def _classifying_graph(
    recognizer: Recognizer, pixels: npt.NDArray[np.uint8]
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """The graph that classifies, and its inputs for one photo; many species are matched outside it."""
    images = {"images": pixels[None]}
    if not isinstance(recognizer.generations.current().operands, Mapping):
        return "encode", images
    species = list(recognizer.gallery.species.values())
    return "classify", {**images, **recognizer.matcher.class_operands(species)}
