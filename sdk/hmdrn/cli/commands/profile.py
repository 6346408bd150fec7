"""`hmdrn profile`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, bundle_argument, json_option, option, require_package, threads_option
from hmdrn.cli.output import print_json, progress
from hmdrn.cli.output_paths import check_output_path
from hmdrn.cli.parameters import FiniteRange, parse_counts
from hmdrn.cli.profile_tables import show_cold_start, show_comparison, show_profile
from hmdrn.cold_start import ColdStart, measure_cold_start
from hmdrn.loading import load, resolve_bundle
from hmdrn_runtime.backends.report import BackendReport
from hmdrn_runtime.backends.stored_profile import save_profile
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.bundle.variants import list_accurate_variants
from hmdrn_runtime.device.cpu_limits import count_cpus
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.compare import Comparison, compare_recognizers
from hmdrn_runtime.profiling.inputs import enroll_drawn, make_camera_frame, make_jpeg_photo
from hmdrn_runtime.profiling.latency import UNSTABLE, Latency
from hmdrn_runtime.profiling.profile import SOURCES, ProfileSettings, limit_species_counts, profile_bundle
from hmdrn_runtime.profiling.result import Profile
from hmdrn_runtime.profiling.timing import TimingPlan
from hmdrn_runtime.profiling.variants import measure_variants
from hmdrn_runtime.recognizer import Recognizer

_DRAWN = 5
_SPECIES = (5, 100, 1000)
_BUDGET_MISSED = 3
_INTERRUPTED = 130
_CPU = "onnxruntime"
_PATIENCE = 10
"""A measurement ends, however few its runs, after this many times --seconds."""


def _parse_sorted(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse several counts of at least 1; sort them, without repeats."""
    counts = parse_counts(context, parameter, value)
    if counts is not None and min(counts) < 1:
        raise click.BadParameter(f"{value!r}: each must be at least 1")
    return counts and tuple(sorted(set(counts)))


@click.command("profile")
@bundle_argument
@option("--gallery", "-g", type=PATH, help="Its species; else drawn ones.")
@option("--compare", "other", metavar="OTHER", help="Another bundle, timed in turns with BUNDLE.")
@option("--variant", help="Graphs of BUNDLE to run, e.g. fp32; the fastest here by default.")
@option("--compare-variant", help="The same of OTHER, which may be BUNDLE itself.")
@option(
    "--source",
    "sources",
    type=click.Choice(list(SOURCES)),
    multiple=True,
    help="A JPEG's bytes of 500x375 pixels, a camera's frame of 1920x1080; both by default.",
)
@option("--batches", callback=_parse_sorted, default="1,8,32", help="Photos in a call.")
@option("--species", callback=_parse_sorted, help="Numbers of species.  [default: 5,100,1000]")
@option("--thread-counts", callback=_parse_sorted, help="Numbers of CPU threads.  [default: 1 and all cores]")
@threads_option
@option("--seconds", type=FiniteRange(0, min_open=True), default=1.0, help="Least duration of a measurement.")
@option("--runs", type=click.IntRange(2), default=100, help="Fewest runs of a measurement.")
@option("--cold-starts", type=click.IntRange(0), default=3, help="New processes to start.")
@option(
    "--budget-ms",
    type=FiniteRange(0, min_open=True),
    help="End with exit code 3 if the p90 from photo to prediction is longer, for any source.",
)
@option("--save", is_flag=True, help="Store how fast each variant is here; the quickest runs from now on.")
@option("--picture", type=PATH, help="Draw stages and species into this picture.")
@json_option
def command(
    bundle: str,
    gallery: Path | None,
    other: str | None,
    variant: str | None,
    compare_variant: str | None,
    sources: tuple[str, ...],
    batches: tuple[int, ...],
    species: tuple[int, ...] | None,
    thread_counts: tuple[int, ...] | None,
    threads: int | None,
    seconds: float,
    runs: int,
    cold_starts: int,
    budget_ms: float | None,
    save: bool,
    picture: Path | None,
    as_json: bool,
) -> int:
    """Measure how fast a bundle is on this machine.

    Each measurement follows MLPerf's single-stream scenario: one query after the other, after a warm-up, for
    at least --seconds and --runs; one that has taken ten times --seconds ends with fewer runs. The budget
    limits the p90, which that scenario reports. Ctrl-C prints what has been measured.

    --save first times the variants that answer accurately on this CPU, in turns on a camera's frame, and
    stores the medians for this user. From then on the quickest one runs wherever no variant is named, until
    the bundle, the CPU or ONNX Runtime changes.

    Species beyond those of the gallery are made up of its photos: a full product takes as long for them as
    for any others.

    Example: hmdrn profile default --compare default --compare-variant fp32 --picture profile.png
    """
    if compare_variant is not None and other is None:
        raise HmdrnError("--compare-variant says what to run of another bundle: give --compare OTHER too")
    if picture is not None:
        require_package("matplotlib", "drawing pictures", "plots")
        inputs = [resolve_bundle(path) for path in (bundle, other) if path is not None]
        picture = check_output_path(picture, "picture", inputs if gallery is None else [*inputs, gallery])
    plan = TimingPlan(seconds, runs, warmup=min(0.2, seconds), limit=_PATIENCE * seconds)
    stored = _save(bundle, gallery, threads, plan) if save else {}
    recognizer = _open(bundle, gallery, variant, threads)
    second = None if other is None else _open(other, gallery, compare_variant, threads)
    settings = ProfileSettings(
        sources or tuple(SOURCES),
        batches,
        species or limit_species_counts(recognizer, _SPECIES),
        thread_counts or tuple(sorted({1, count_cpus()})),
        threads,
        plan,
    )
    measured: Profile | None = None
    comparison: dict[str, Comparison] = {}
    start: ColdStart | None = None
    interrupted = False
    with progress() as report:
        try:
            for measured in profile_bundle(recognizer, settings, report):  # noqa: B007 (used after an interrupt)
                pass
            if second is not None:
                report("comparing", 0, 1)
                photos = {name: SOURCES[name]() for name in settings.sources}
                comparison = compare_recognizers(recognizer, second, photos, settings.plan)
            if cold_starts:
                report("cold start", 0, 1)
                start = _cold_start(recognizer, bundle, cold_starts, threads)
        except KeyboardInterrupt:
            interrupted = True
    if measured is None:
        return _INTERRUPTED
    mine, others = recognizer.backend_report, None if second is None else second.backend_report
    title = f"{bundle}: {mine.variant} graphs on {mine.backend}" + _describe_choice(mine)
    if picture is not None:
        from hmdrn.plotting.profile import draw_profile

        draw_profile(measured, title, picture)
    if as_json:
        values = {
            "bundle": bundle,
            "variant": mine.variant,
            "backend": mine.backend,
            "threads": settings.used_threads,
            "plan": asdict(settings.plan),
            "interrupted": interrupted,
            **measured.to_dict(),
            "cold_start": None if start is None else asdict(start),
            "other": other,
            "other_variant": None if others is None else others.variant,
            "other_backend": None if others is None else others.backend,
            "comparison": {source: asdict(pair) for source, pair in comparison.items()},
            "budget_ms": budget_ms,
            "chosen_by_profile": bool(mine.measured),
            "stored": {name: latency.p50 for name, latency in stored.items()} or None,
        }
        print_json("profile", values)
    else:
        show_profile(measured, title)
        if comparison:
            show_comparison(comparison, bundle, str(other))
        if start is not None:
            show_cold_start(start)
    return _conclude(measured, stored, comparison, interrupted, budget_ms)


def _describe_choice(report: BackendReport) -> str:
    times = ", ".join(f"{name} {time:.3g} ms" for name, time in report.measured.items())
    return f", chosen by the stored profile ({times})" if times else ""


def _save(bundle: str, gallery: Path | None, threads: int | None, plan: TimingPlan) -> dict[str, Latency]:
    """Time the variants that are accurate on the CPU, and store their medians."""
    checked = open_bundle(resolve_bundle(bundle))
    recognizers = {
        name: _open(bundle, gallery, name, threads, _CPU)
        for name in list_accurate_variants(checked.manifest, _CPU)
    }
    with progress() as report:
        report("variants", 0, 1)
        latencies = measure_variants(recognizers, make_camera_frame(), plan)
    path = save_profile(checked, _CPU, {name: latency.p50 for name, latency in latencies.items()})
    print_message(f"stored how fast {', '.join(latencies)} are here in {path}")
    return latencies


def _open(
    bundle: str, gallery: Path | None, variant: str | None, threads: int | None, backend: str = "auto"
) -> Recognizer:
    recognizer = load(bundle, gallery, backend, threads=threads, variant=variant)
    if gallery is None:
        enroll_drawn(recognizer, _DRAWN)
    return recognizer


def _cold_start(recognizer: Recognizer, bundle: str, runs: int, threads: int | None) -> ColdStart:
    with tempfile.TemporaryDirectory() as folder:
        gallery, photo = Path(folder) / "profile.gallery", Path(folder) / "photo.jpg"
        recognizer.save_gallery(gallery)
        photo.write_bytes(make_jpeg_photo())
        return measure_cold_start(bundle, gallery, photo, runs, recognizer.bundle.variant, threads)


def _conclude(
    measured: Profile,
    stored: Mapping[str, Latency],
    comparison: Mapping[str, Comparison],
    interrupted: bool,
    budget_ms: float | None,
) -> int:
    """Print warnings; return the exit code."""
    unstable = [
        *measured.unstable,
        *(
            f"{name} graphs in turns: latency moved by {latency.spread:.1%}"
            for name, latency in stored.items()
            if latency.unstable
        ),
        *(
            f"{source} in turns, {name}: latency moved by {latency.spread:.1%}"
            for source, pair in comparison.items()
            for name, latency in (("first", pair.first), ("second", pair.second))
            if latency.unstable
        ),
    ]
    if unstable:
        print_message(
            f"warning: times wandered ({'; '.join(unstable)}; over {UNSTABLE:.1%}): let nothing "
            "else run, lock the clocks, and measure again"
        )
    if interrupted:
        print_message("interrupted: this is what had been measured")
        return _INTERRUPTED
    if budget_ms is not None and measured.p90 is not None and measured.p90 > budget_ms:
        print_message(
            f"the budget of {budget_ms:g} ms is missed: p90 from photo to prediction is {measured.p90:.3g} ms"
        )
        return _BUDGET_MISSED
    return 0
