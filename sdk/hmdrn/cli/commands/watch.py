"""`hmdrn watch`."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from hmdrn.cli.messages import format_message, print_message
from hmdrn.cli.numbers import FiniteRange
from hmdrn.cli.options import bundle_argument, json_option, print_facts, threads_option
from hmdrn.cli.output_paths import output_place
from hmdrn.cli.pipe_writer import Lines
from hmdrn.cli.regions import parse_region
from hmdrn.cli.signals import Stop
from hmdrn.cli.threshold_summary import calibrate_line
from hmdrn.loading import bundle_path, load
from hmdrn.open_set import require_background
from hmdrn.watching.events import Sink, line, result_events, source_event, summary_event
from hmdrn.watching.mqtt import Publisher
from hmdrn.watching.overlay import Film, Window
from hmdrn.watching.results import SourceEvent, WatchResult
from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.snapshots import FOLDERS, MOST, Snapshots
from hmdrn.watching.sources import Source, parse_source
from hmdrn.watching.summary import Seen, Summary
from hmdrn.watching.watch import SEPARATE, watch
from hmdrn_runtime.errors import GalleryError, HmdrnError
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.io.files import user_path
from hmdrn_runtime.migration import move_of
from hmdrn_runtime.recognizer import Recognizer

_USUAL = Smoothing()


@click.command("watch")
@bundle_argument
@click.option(
    "--gallery", "-g", required=True, type=click.Path(path_type=Path), help="Gallery file of the species."
)
@click.option(
    "--source",
    "-s",
    required=True,
    help="A camera's number (0), a video, a folder of photos, rtsp://... or http://..., csi://0 (a Jetson's "
    "camera; not yet run on hardware), or a GStreamer pipeline that ends in appsink.",
)
@click.option(
    "--region", metavar="X0,Y0,X1,Y1", callback=parse_region, help="Part of each frame to look at, in pixels."
)
@click.option(
    "--boxes",
    help="A detector's boxes as JSON lines, one object a frame: - for standard input, or a named pipe. "
    "Each box is answered, and followed from frame to frame.",
)
@click.option(
    "--every-frame/--newest",
    default=None,
    help="Look at every frame, or at the newest only and drop those that it overtook; a file is then played "
    "at its own rate, like a camera. Default: every frame of a file, the newest of all else.",
)
@click.option(
    "--loop", is_flag=True, help="Begin a file or folder again when it has ended; its frames' numbers go on."
)
@click.option(
    "--smoothing",
    type=FiniteRange(0),
    metavar="S",
    help="Seconds over which answers are averaged; 0 takes every frame by itself.  "
    f"[default: {_USUAL.seconds}; folders: 0]",
)
@click.option(
    "--hysteresis",
    type=FiniteRange(0, 1),
    default=_USUAL.hysteresis,
    show_default=True,
    help="How far another label must lead to take over: the averages' difference over their sum.",
)
@click.option(
    "--hold",
    type=click.IntRange(1),
    default=_USUAL.hold,
    show_default=True,
    help="Answers in a row for which it must lead.",
)
@click.option("--all", "every", is_flag=True, help="An event for each frame, not for changes alone.")
@click.option(
    "--mqtt",
    metavar="URL",
    help="Publish the events, mqtt[s]://[user:password@]host[:port]/topic, instead of printing them.",
)
@click.option(
    "--snapshots",
    type=click.Path(path_type=Path),
    help="Folder to keep pictures of what is unknown in: with --boxes a folder for each subject, else "
    f"for each uninterrupted sight of something unknown, of {MOST} pictures at most. Look through it before "
    "you enroll it: it may show several species. Give it its species' name, and `hmdrn enroll` takes it.",
)
@click.option(
    "--snapshot-every",
    type=FiniteRange(0),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds between two snapshots.",
)
@click.option(
    "--snapshot-folders",
    type=click.IntRange(1),
    default=FOLDERS,
    show_default=True,
    metavar="N",
    help="Folders named unknown-... beyond which no other is begun, those of earlier runs included.",
)
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Film to write (.mp4, .avi), with boxes and labels."
)
@click.option("--window", is_flag=True, help="Show the same in a window; q closes it.")
@click.option(
    "--stall-after",
    type=FiniteRange(0.1),
    default=5.0,
    show_default=True,
    metavar="S",
    help="Seconds without a frame after which a live source counts as stalled, and is opened again.",
)
@click.option(
    "--max-seconds", type=FiniteRange(0, min_open=True), metavar="S", help="Seconds to watch at most."
)
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Frames to answer at most.")
@threads_option
@json_option
def command(
    bundle: str,
    gallery: Path,
    source: str,
    region: Box | None,
    boxes: str | None,
    every_frame: bool | None,
    loop: bool,
    smoothing: float | None,
    hysteresis: float,
    hold: int,
    every: bool,
    mqtt: str | None,
    snapshots: Path | None,
    snapshot_every: float,
    snapshot_folders: int,
    overlay: Path | None,
    window: bool,
    stall_after: float,
    max_seconds: float | None,
    max_frames: int | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Name what a camera, stream or video shows, until it ends, Ctrl-C or SIGTERM.

    Prints a line of JSON whenever the smoothed label changes, and at the end a summary on standard error
    (with --json, as the last line of JSON). A live source that stalls or dies is reported and opened again.

    A line of boxes is {"boxes": [[x0, y0, x1, y1], ...]} in pixels, and may have "frame", a number or text.
    Of a file, a line belongs to the frame of that number from 0, or to the next one, and frames wait for
    their line. Of all else, the newest line belongs to the next frame. A line that cannot be read is
    reported and counts as one without boxes; one that comes too late or is overtaken is counted. The end
    of the lines is the end of watching.

    Exit code: 0 at the end and after SIGTERM, 130 after Ctrl-C, 2 also if a photo of a folder was unreadable.

    Example: hmdrn watch default --source film.mp4 --gallery site7.gallery
    """
    with Stop() as stop, contextlib.ExitStack() as opened:
        ending = lambda: stop.asked is not None  # noqa: E731
        out, aside = Lines("stdout", ending), Lines("stderr", ending)
        found = parse_source(source)
        if overlay is not None:
            read = [bundle_path(bundle), gallery, boxes if boxes not in (None, "-") else None, found.path]
            overlay = output_place(overlay, "film", [one for one in read if one is not None])
        if snapshots is not None:
            _check_snapshots(snapshots, found)
        recognizer = _recognizer(bundle, gallery, threads)
        if snapshots is not None:
            _check_unknowns(recognizer, bundle, gallery)
        mode = recognizer.bundle.manifest.input.preprocessing
        keeper = None
        if snapshots is not None:
            keeper = Snapshots(snapshots, snapshot_every, mode, snapshot_folders, print_message)
        film = opened.enter_context(contextlib.closing(Film(overlay))) if overlay is not None else None
        screen = opened.enter_context(contextlib.closing(Window())) if window else None
        publisher = opened.enter_context(contextlib.closing(Publisher(mqtt))) if mqtt is not None else None
        sink: Sink = publisher if publisher is not None else lambda event: out(line(event))
        watching = watch(
            recognizer,
            source,
            region=region,
            boxes=_box_source(boxes),
            every_frame=every_frame,
            loop=loop,
            smoothing=_smoothing(found, smoothing, hysteresis, hold),
            stall_after=stall_after,
            max_seconds=max_seconds,
            max_frames=max_frames,
            on_event=lambda event: _tell_event(event, sink, aside),
        )
        stop.ends(watching.stop)
        for result in watching:
            for event in result_events(result, every):
                sink(event)
            keeper = _keep(keeper, result)
            if film is not None:
                film.add(result, watching.rate)
            if screen is not None and not screen.show(result):
                watching.stop()
        _close(watching.summary, publisher, out if as_json else None, aside)
    if stop.asked == signal.SIGINT:
        return 130
    return 2 if found.kind == "photos" and watching.summary.unreadable else 0


def _recognizer(bundle: str, gallery: Path, threads: int | None) -> Recognizer:
    recognizer = load(bundle, gallery, threads=threads)
    move = move_of(recognizer.gallery, recognizer.bundle)
    if move is not None:
        print_message(f"note: {move}")
    if recognizer.calibration_doubt is not None:
        print_message(f"warning: {recognizer.calibration_doubt}")
    if not len(recognizer.gallery):
        raise GalleryError(f"{gallery} has no species: enroll photos first, with hmdrn enroll")
    if len(recognizer.gallery) == 1 and recognizer.gallery.calibration is None:
        print_message(
            "note: the gallery has one species, so every frame gets its name: enroll others to tell it from"
        )
    return recognizer


def _check_snapshots(folder: Path, source: Source) -> None:
    """Refuse to keep snapshots among the photos that are watched: a loop would watch them in turn."""
    place = user_path(folder, HmdrnError).resolve()
    if (
        source.kind == "photos"
        and source.path is not None
        and source.path.resolve() in (place, *place.parents)
    ):
        raise HmdrnError(f"cannot keep snapshots in {folder}: its photos are watched; give another folder")


def _check_unknowns(recognizer: Recognizer, bundle: str, gallery: Path) -> None:
    require_background(recognizer)
    if recognizer.gallery.calibration is None:
        raise GalleryError(
            f"{gallery} is not calibrated, so nothing would ever be unknown and kept as a snapshot: run "
            f"{calibrate_line(gallery, bundle)}"
        )


def _smoothing(source: Source, seconds: float | None, hysteresis: float, hold: int) -> Smoothing:
    if seconds is None and source.kind == "photos":
        return SEPARATE
    return Smoothing(_USUAL.seconds if seconds is None else seconds, hysteresis, hold)


def _box_source(boxes: str | None) -> int | str | None:
    if boxes != "-":
        return boxes
    if sys.stdin is None:  # descriptor 0 may be any file by now
        raise HmdrnError("cannot read boxes from standard input: it is closed; pipe the detector into it")
    return 0


def _tell_event(event: SourceEvent, sink: Sink, aside: Lines) -> None:
    aside(format_message(event.message))
    sink(source_event(event))


def _keep(keeper: Snapshots | None, result: WatchResult) -> Snapshots | None:
    """Take snapshots; a full disk ends these, not the watching."""
    try:
        if keeper is not None:
            keeper.take(result)
    except HmdrnError as error:
        print_message(f"no more snapshots: {error}")
        return None
    return keeper


def _close(summary: Summary, publisher: Publisher | None, out: Lines | None, aside: Lines) -> None:
    """Give the summary to the broker, to programs (`out`), or aside to people."""
    closing = summary_event(summary, time.time())
    if publisher is not None:
        publisher(closing)
        publisher.close()
        if publisher.lost:
            aside(format_message(f"warning: {publisher.lost} events did not reach the broker"))
    if out is not None:
        out(line(closing))
    elif aside.ready():
        print_facts("", list(_facts(summary)), stderr=True)


def _facts(summary: Summary) -> Iterator[tuple[str, str]]:
    counts = f"{summary.read} read, {summary.classified} classified, {summary.dropped} dropped"
    others = {"without boxes": summary.skipped, "unreadable": summary.unreadable}
    yield "frames", ", ".join([counts, *(f"{count} {name}" for name, count in others.items() if count)])
    yield "seconds", f"{summary.seconds:.1f}"
    yield "latency, capture to answer", str(summary.latencies)
    yield "reconnects", str(summary.reconnects)
    lines = {"bad": summary.bad_lines, "late or overtaken": summary.unused_lines}
    if any(lines.values()):
        yield "lines of boxes", ", ".join(f"{count} {name}" for name, count in lines.items() if count)
    for label, seen in sorted(summary.species.items()):
        yield label, _seen(seen)
    if summary.unknown.frames:
        yield "unknown", _seen(summary.unknown)


def _seen(seen: Seen) -> str:
    return f"{seen.frames} frame{'s' * (seen.frames != 1)}, seen {seen.times} time{'s' * (seen.times != 1)}"
