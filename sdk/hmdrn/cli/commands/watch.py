"""`hmdrn watch`."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hmdrn.cli.detector_options import DetectorOptions, detector_options, open_detector
from hmdrn.cli.gallery_notes import SINGLE_SPECIES, load_with_notes, warn_of_slow_backend
from hmdrn.cli.health_options import HealthOptions, health_options, start_supervision
from hmdrn.cli.messages import format_message, print_message
from hmdrn.cli.options import PATH, bundle_argument, gallery_option, json_option, option, threads_option
from hmdrn.cli.output import print_facts
from hmdrn.cli.output_paths import check_output_path
from hmdrn.cli.parameters import FiniteRange, parse_region
from hmdrn.cli.pipe_writer import PipeWriter
from hmdrn.cli.signals import StopOnSignal
from hmdrn.cli.snapshot_checks import check_snapshot_folder, check_unknowns
from hmdrn.cli.source_options import source_options
from hmdrn.cli.visit_options import VisitOptions, open_diary, visit_options
from hmdrn.cli.watch_summary import summary_facts
from hmdrn.loading import resolve_bundle
from hmdrn.watching.events import (
    Sink,
    build_result_events,
    build_source_event,
    build_summary_event,
    to_json_line,
)
from hmdrn.watching.mqtt import MqttPublisher
from hmdrn.watching.overlay import OverlayVideo, OverlayWindow
from hmdrn.watching.results import SourceEvent, WatchResult
from hmdrn.watching.settings import NO_SMOOTHING
from hmdrn.watching.smoothing import Smoothing
from hmdrn.watching.snapshots import MAX_FOLDERS, MAX_PICTURES, SnapshotWriter
from hmdrn.watching.sources import Source, parse_source, poll_source
from hmdrn.watching.status import WatchStatus
from hmdrn.watching.summary import WatchSummary
from hmdrn.watching.watch import watch
from hmdrn_runtime.errors import GalleryError, HmdrnError

_DEFAULT = Smoothing()


@click.command("watch")
@bundle_argument
@gallery_option
@source_options
@option("--region", metavar="X0,Y0,X1,Y1", callback=parse_region, help="Part of each frame, in pixels.")
@option(
    "--boxes",
    help="A detector's boxes as JSON lines, one object a frame: - for standard input, or a named pipe. "
    "Each box is answered, and followed from frame to frame.",
)
@detector_options
@option(
    "--smoothing",
    type=FiniteRange(0),
    metavar="S",
    help="Seconds over which answers are averaged; 0 takes every frame by itself.  "
    f"[default: {_DEFAULT.seconds}; folders and --poll: 0]",
)
@option(
    "--hysteresis",
    type=FiniteRange(0, 1),
    default=_DEFAULT.hysteresis,
    help="Lead that another label needs to take over: the averages' difference over their sum.",
)
@option(
    "--hold", type=click.IntRange(1), default=_DEFAULT.hold, help="Answers in a row for which it must lead."
)
@option("--all", "every", is_flag=True, help="An event for each frame, not only for changes.")
@option(
    "--mqtt",
    metavar="URL",
    help="Publish the events, mqtt[s]://[user:password@]host[:port]/topic, instead of printing them.",
)
@option(
    "--snapshots",
    type=PATH,
    help="Folder for pictures of unknown subjects: with --boxes a folder for each subject, else for each "
    f"uninterrupted sight of something unknown, of {MAX_PICTURES} pictures at most. Check it before you "
    "enroll it: it may show several species. Give it its species' name, and `hmdrn enroll` takes it.",
)
@option(
    "--snapshot-every", type=FiniteRange(0), default=2.0, metavar="S", help="Seconds between two snapshots."
)
@option(
    "--snapshot-folders",
    type=click.IntRange(1),
    default=MAX_FOLDERS,
    metavar="N",
    help="Most folders named unknown-..., those of earlier runs included.",
)
@visit_options
@option("--overlay", type=PATH, help="Film to write (.mp4, .avi), with boxes and labels.")
@option("--window", is_flag=True, help="Show the same in a window; q closes it.")
@health_options
@option("--max-seconds", type=FiniteRange(0, min_open=True), metavar="S", help="Most seconds to watch.")
@option("--max-frames", type=click.IntRange(1), metavar="N", help="Most frames to answer.")
@threads_option
@json_option
def command(
    bundle: str,
    gallery: Path,
    source: str,
    boxes: str | None,
    detector: DetectorOptions,
    smoothing: float | None,
    hysteresis: float,
    hold: int,
    every: bool,
    follow_gallery: bool,
    mqtt: str | None,
    snapshots: Path | None,
    snapshot_every: float,
    snapshot_folders: int,
    diary: VisitOptions,
    supervision: HealthOptions,
    overlay: Path | None,
    window: bool,
    follow: bool,
    follow_state: Path | None,
    threads: int | None,
    as_json: bool,
    **settings: Any,  # those that `watch` takes as they are
) -> int:
    """Name what a camera, stream or video shows, until it ends, Ctrl-C or SIGTERM.

    Prints a line of JSON whenever the smoothed label changes, and at the end a summary on standard error
    (with --json, as the last line of JSON). A live source that stalls or dies is reported and opened again.

    A line of boxes is {"boxes": [[x0, y0, x1, y1], ...]} in pixels, and may have "frame", a number or text.
    With a file, a line belongs to the frame of that number from 0, or to the next one, and frames wait for
    their line. With other sources, the newest line belongs to the next frame. A line that cannot be read is
    reported and counts as one without boxes; one that comes too late or is overtaken is counted. Watching
    ends with the lines.

    Exit code: 0 at the end and after SIGTERM, 130 after Ctrl-C, 2 also if a photo of a folder was unreadable.

    Example: hmdrn watch default --source film.mp4 --gallery site7.gallery
    """
    with StopOnSignal() as stop, contextlib.ExitStack() as stack:
        out, err = (PipeWriter(name, lambda: stop.received is not None) for name in ("stdout", "stderr"))
        parsed = poll_source(parse_source(source), settings["poll"])
        if overlay is not None:
            inputs = [resolve_bundle(bundle), gallery, None if boxes == "-" else boxes, parsed.path]
            overlay = check_output_path(overlay, "film", [path for path in inputs if path is not None])
        if snapshots is not None:
            check_snapshot_folder(snapshots, parsed)
        recognizer = load_with_notes(bundle, gallery, threads=threads)
        warn_of_slow_backend(recognizer)
        if not len(recognizer.gallery):
            raise GalleryError(f"{gallery} has no species: enroll photos first, with hmdrn enroll")
        if len(recognizer.gallery) == 1 and recognizer.gallery.calibration is None:
            print_message(SINGLE_SPECIES)
        writer = None
        if snapshots is not None:
            check_unknowns(recognizer, bundle, gallery)
            preprocessing = recognizer.preprocessing
            writer = SnapshotWriter(snapshots, snapshot_every, preprocessing, snapshot_folders, print_message)
        film = stack.enter_context(contextlib.closing(OverlayVideo(overlay))) if overlay is not None else None
        screen = stack.enter_context(contextlib.closing(OverlayWindow())) if window else None
        publisher = stack.enter_context(contextlib.closing(MqttPublisher(mqtt))) if mqtt is not None else None
        visits = open_diary(diary, recognizer, parsed, publisher, gallery, settings["every_frame"], stack)
        sink: Sink = publisher if publisher is not None else lambda event: out(to_json_line(event))

        def report_event(event: SourceEvent) -> None:
            err(format_message(event.message))
            sink(build_source_event(event))

        def report_camera(message: str) -> None:
            report_event(SourceEvent("camera", message, time.time()))

        found_by = open_detector(detector, boxes, parsed, threads, report_camera, stack)
        watching = watch(
            recognizer,
            source,
            boxes=found_by or _parse_boxes(boxes),
            follow=(follow_state or True) if follow else False,
            smoothing=_choose_smoothing(parsed, smoothing, hysteresis, hold),
            on_event=report_event,
            **settings,
        )
        if follow_gallery:
            recognizer.follow_gallery(gallery, watching.report_gallery)
        watching.on_pause = visits.end_pause
        stop.call(watching.stop)
        watched = stack.enter_context(contextlib.ExitStack())

        def read_status() -> WatchStatus:
            return replace(watching.status(), diary=visits.status(), is_ending=visits.is_ending)

        start_supervision(supervision, read_status, sink, err, watching.stop, watched)
        for result in watching:
            for event in build_result_events(result, every):
                sink(event)
            writer = _write_snapshots(writer, result)
            visits.add(result)
            if film is not None:
                film.add(result, watching.rate)
            if screen is not None and not screen.show(result):
                watching.stop()
        visits.close()
        watched.close()
        _finish(watching.summary, publisher, out if as_json else None, err)
    if stop.received == signal.SIGINT:
        return 130
    return 2 if parsed.kind == "photos" and watching.summary.unreadable else 0


def _choose_smoothing(source: Source, seconds: float | None, hysteresis: float, hold: int) -> Smoothing:
    if seconds is None and (source.kind == "photos" or source.poll is not None):
        return NO_SMOOTHING
    return Smoothing(_DEFAULT.seconds if seconds is None else seconds, hysteresis, hold)


def _parse_boxes(boxes: str | None) -> int | str | None:
    if boxes == "-" and sys.stdin is None:  # descriptor 0 may be any file by now
        raise HmdrnError("cannot read boxes from standard input: it is closed; pipe the detector into it")
    return 0 if boxes == "-" else boxes


def _write_snapshots(writer: SnapshotWriter | None, result: WatchResult) -> SnapshotWriter | None:
    """Write snapshots; an error, such as a full disk, ends the snapshots but not the watching."""
    try:
        if writer is not None:
            writer.add(result)
    except HmdrnError as error:
        print_message(f"no more snapshots: {error}")
        return None
    return writer


def _finish(
    summary: WatchSummary, publisher: MqttPublisher | None, out: PipeWriter | None, err: PipeWriter
) -> None:
    """Give the summary to the broker, and to programs (`out`) or else to people."""
    event = build_summary_event(summary, time.time())
    if publisher is not None:
        publisher(event)
        publisher.close()
        if publisher.lost:
            err(format_message(f"warning: {publisher.lost} events did not reach the broker"))
    if out is not None:
        out(to_json_line(event))
    elif err.wait_until_writable():
        print_facts("", list(summary_facts(summary)), stderr=True)
