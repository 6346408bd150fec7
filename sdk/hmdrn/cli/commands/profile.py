"""`hmdrn profile`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.messages import print_message
from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import bundle_argument, json_option, print_json, progress, require, threads_option
from hmdrn.cli.output_paths import output_place
from hmdrn.cli.profile_tables import show_cold_start, show_comparison, show_profile
from hmdrn.cold_start import ColdStart, cold_start
from hmdrn.loading import bundle_path, load
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.profiling.compare import Comparison, compare
from hmdrn_runtime.profiling.inputs import enroll_drawn, jpeg_photo
from hmdrn_runtime.profiling.latency import UNSTABLE
from hmdrn_runtime.profiling.profile import SOURCES, Report, Settings, affordable, profile
from hmdrn_runtime.profiling.result import Profile
from hmdrn_runtime.profiling.timing import Plan
from hmdrn_runtime.recognizer import Recognizer

_DRAWN = 5
_SPECIES = (5, 100, 1000)
_BUDGET_MISSED = 3
_INTERRUPTED = 130
_PATIENCE = 10
"""A measurement ends, however few its runs, when it has taken so many times --seconds."""


def _counts(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Several counts such as 1,8,32, sorted."""
    if value is None:
        return None
    try:
        counts = tuple(sorted({int(part) for part in value.split(",")}))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor several such as 1,8,32") from error
    if counts[0] < 1:
        raise click.BadParameter(f"{value!r}: each must be at least 1")
    return counts


@dataclass
class _Found:
    """What has been measured so far: all that is there is printed when it is interrupted."""

    profile: Profile | None = None
    comparison: dict[str, Comparison] | None = None
    start: ColdStart | None = None
    interrupted: bool = False


@click.command("profile")
@bundle_argument
@click.option("--gallery", "-g", type=click.Path(path_type=Path), help="Its species; else drawn ones.")
@click.option("--compare", "other", metavar="OTHER", help="Another bundle, timed in turns with BUNDLE.")
@click.option("--variant", help="Graphs of BUNDLE to run, e.g. fp32; the fastest here by default.")
@click.option("--compare-variant", help="The same of OTHER, which may be BUNDLE itself.")
@click.option(
    "--source",
    "sources",
    type=click.Choice(list(SOURCES)),
    multiple=True,
    help="A JPEG's bytes of 500x375 pixels, a camera's frame of 1920x1080; both by default.",
)
@click.option("--batches", callback=_counts, default="1,8,32", show_default=True, help="Photos in a call.")
@click.option("--species", callback=_counts, help="Numbers of species.  [default: 5,100,1000]")
@click.option("--thread-counts", callback=_counts, help="Numbers of CPU threads.  [default: 1 and all cores]")
@threads_option
@click.option(
    "--seconds",
    type=FiniteRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Least duration of a measurement.",
)
@click.option(
    "--runs", type=click.IntRange(2), default=100, show_default=True, help="Fewest runs of a measurement."
)
@click.option(
    "--cold-starts", type=click.IntRange(0), default=3, show_default=True, help="New processes to start."
)
@click.option(
    "--budget-ms",
    type=FiniteRange(0, min_open=True),
    help="End with exit code 3 if the p90 from photo to prediction is longer, for any source.",
)
@click.option("--picture", type=click.Path(path_type=Path), help="Draw stages and species into this picture.")
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
    picture: Path | None,
    as_json: bool,
) -> int:
    """Measure how fast a bundle is on this machine.

    Each measurement follows MLPerf's single-stream scenario: one query after the other, after a warm-up, for
    at least --seconds and --runs; one that has taken ten times --seconds ends with fewer runs. The budget is
    held against the p90, which that scenario reports. Ctrl-C prints what has been measured.

    Species beyond those of the gallery are made up of its photos: a full product takes as long for them as
    for any others.

    Example: hmdrn profile default --compare default --compare-variant fp32 --picture profile.png
    """
    if compare_variant is not None and other is None:
        raise HmdrnError("--compare-variant says what to run of another bundle: give --compare OTHER too")
    if picture is not None:
        require("matplotlib", "drawing pictures", "plots")
        read = [bundle_path(one) for one in (bundle, other) if one is not None]
        picture = output_place(picture, "picture", read if gallery is None else [*read, gallery])
    recognizer = _open(bundle, gallery, variant, threads)
    second = None if other is None else _open(other, gallery, compare_variant, threads)
    settings = Settings(
        sources or tuple(SOURCES),
        batches,
        species or affordable(recognizer, _SPECIES),
        thread_counts or tuple(sorted({1, os.cpu_count() or 1})),
        threads,
        Plan(seconds, runs, warmup=min(0.2, seconds), limit=_PATIENCE * seconds),
    )
    found = _Found()
    with progress() as report:
        try:
            _measure(found, recognizer, second, settings, report)
            if cold_starts:
                report("cold start", 0, 1)
                found.start = _cold_start(recognizer, bundle, cold_starts, threads)
        except KeyboardInterrupt:
            found.interrupted = True
    measured = found.profile
    if measured is None:
        return _INTERRUPTED
    used = recognizer.backend_report
    title = f"{bundle}: {used.variant} graphs on {used.backend}"
    if picture is not None:
        from hmdrn.plotting.profile import draw_profile

        draw_profile(measured, title, picture)
    if as_json:
        print_json("profile", _values(bundle, other, recognizer, second, found, settings, budget_ms))
    else:
        show_profile(measured, title)
        if found.comparison is not None:
            show_comparison(found.comparison, bundle, str(other))
        if found.start is not None:
            show_cold_start(found.start)
    return _outcome(found, measured, budget_ms)


def _open(bundle: str, gallery: Path | None, variant: str | None, threads: int | None) -> Recognizer:
    recognizer = load(bundle, gallery, threads=threads, variant=variant)
    if gallery is None:
        enroll_drawn(recognizer, _DRAWN)
    return recognizer


def _measure(
    found: _Found, recognizer: Recognizer, second: Recognizer | None, settings: Settings, report: Report
) -> None:
    for found.profile in profile(recognizer, settings, report):
        pass
    if second is not None:
        report("comparing", 0, 1)
        photos = {name: SOURCES[name]() for name in settings.sources}
        found.comparison = compare(recognizer, second, photos, settings.plan)


def _cold_start(recognizer: Recognizer, bundle: str, runs: int, threads: int | None) -> ColdStart:
    with tempfile.TemporaryDirectory() as folder:
        gallery, photo = Path(folder) / "profile.gallery", Path(folder) / "photo.jpg"
        recognizer.save_gallery(gallery)
        photo.write_bytes(jpeg_photo())
        return cold_start(bundle, gallery, photo, runs, recognizer.bundle.variant, threads)


def _values(
    bundle: str,
    other: str | None,
    recognizer: Recognizer,
    second: Recognizer | None,
    found: _Found,
    settings: Settings,
    budget_ms: float | None,
) -> dict[str, Any]:
    report = recognizer.backend_report
    others = None if second is None else second.backend_report
    comparison = found.comparison or {}
    return {
        "bundle": bundle,
        "variant": report.variant,
        "backend": report.backend,
        "threads": settings.used_threads,
        "plan": asdict(settings.plan),
        "interrupted": found.interrupted,
        **(found.profile.to_dict() if found.profile else {}),
        "cold_start": None if found.start is None else found.start.to_dict(),
        "other": other,
        "other_variant": None if others is None else others.variant,
        "other_backend": None if others is None else others.backend,
        "comparison": {source: one.to_dict() for source, one in comparison.items()},
        "budget_ms": budget_ms,
    }


def _unstable(comparison: Mapping[str, Comparison]) -> list[str]:
    return [
        f"{source} in turns, {name}: latency moved by {latency.spread:.1%}"
        for source, one in comparison.items()
        for name, latency in (("first", one.first), ("second", one.second))
        if latency.unstable
    ]


def _outcome(found: _Found, measured: Profile, budget_ms: float | None) -> int:
    unstable = [*measured.unstable, *_unstable(found.comparison or {})]
    if unstable:
        print_message(
            f"warning: times wandered ({'; '.join(unstable)}; over {UNSTABLE:.1%}): let nothing "
            "else run, lock the clocks, and measure again"
        )
    if found.interrupted:
        print_message("interrupted: this is what had been measured")
        return _INTERRUPTED
    if budget_ms is not None and measured.p90 is not None and measured.p90 > budget_ms:
        print_message(
            f"the budget of {budget_ms:g} ms is missed: p90 from photo to prediction is {measured.p90:.3g} ms"
        )
        return _BUDGET_MISSED
    return 0
