"""`hmdrn frigate`."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from pathlib import Path

import click

from hmdrn.cli.gallery_notes import load_with_notes, warn_of_slow_backend
from hmdrn.cli.health_options import HealthOptions, health_options, start_supervision
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, gallery_option, option, threads_option
from hmdrn.cli.output import with_schema
from hmdrn.cli.output_paths import check_output_path
from hmdrn.cli.parameters import FiniteRange
from hmdrn.cli.pipe_writer import PipeWriter
from hmdrn.cli.signals import StopOnSignal
from hmdrn.integrations.frigate.api import FrigateApi, FrigateError
from hmdrn.integrations.frigate.event_namer import ANIMALS, EventNamer, NamedEvent
from hmdrn.integrations.frigate.events import FrigateEvents
from hmdrn.integrations.frigate.progress import FrigateProgress
from hmdrn.visits.store import MAX_MEGABYTES, VisitStore
from hmdrn.watching.events import Event, to_json_line
from hmdrn_runtime.errors import GalleryError, HmdrnError

_POLL_SECONDS = 0.2


@click.command("frigate")
@option(
    "--url",
    required=True,
    help="Frigate: http[s]://[user:password@]host[:port], such as http://frigate:5000.",
)
@option(
    "--mqtt",
    metavar="URL",
    required=True,
    help="Its broker, mqtt[s]://[user:password@]host[:port]/PREFIX; PREFIX is Frigate's, usually frigate.",
)
@gallery_option
@option("--bundle", default="default", help="The bundle that the gallery belongs to.")
@option("--labels", metavar="NAMES", help=f"Frigate's classes to name.  [default: {','.join(ANIMALS)}]")
@option("--unknown", metavar="TEXT", help="Sub-label of what shows no enrolled species.  [default: none]")
@option("--visits", type=PATH, help="Diary to write: every event that has ended; see `hmdrn visits`.")
@option("--visits-mb", type=FiniteRange(1), default=MAX_MEGABYTES, metavar="MB", help="Most megabytes of it.")
@health_options
@option("--max-seconds", type=FiniteRange(0, min_open=True), metavar="S", help="Most seconds to run.")
@option("--max-events", type=click.IntRange(1), metavar="N", help="Most events to name to their end.")
@threads_option
def command(
    url: str,
    mqtt: str,
    gallery: Path,
    bundle: str,
    labels: str | None,
    unknown: str | None,
    visits: Path | None,
    visits_mb: float,
    supervision: HealthOptions,
    max_seconds: float | None,
    max_events: int | None,
    threads: int | None,
) -> int:
    """Name the birds and animals that Frigate sees, by the species of a gallery.

    Each event's pictures are read from Frigate, and the name is written back as its sub-label. Prints a line
    of JSON for each name. Runs until Ctrl-C or SIGTERM. An outage of Frigate or of the broker is reported
    once, and the work goes on after it. The gallery's file is followed, so corrections count at once.

    Example: hmdrn frigate --url http://frigate:5000 --mqtt mqtt://broker/frigate --gallery site7.gallery
    """
    classes = ANIMALS if labels is None else tuple(filter(None, (part.strip() for part in labels.split(","))))
    if not classes:
        raise click.UsageError("give at least one class to --labels, such as bird")
    with StopOnSignal() as stop, contextlib.ExitStack() as stack:
        out = PipeWriter("stdout", lambda: stop.received is not None)
        api = FrigateApi(url)
        recognizer = load_with_notes(bundle, gallery, threads=threads)
        warn_of_slow_backend(recognizer)
        if not len(recognizer.gallery):
            raise GalleryError(f"{gallery} has no species: enroll photos first, with hmdrn enroll")
        recognizer.follow_gallery(gallery, print_message)
        store = None
        if visits is not None:
            path = check_output_path(visits, "visits", [gallery])
            store = stack.enter_context(VisitStore(path, create=True, max_megabytes=visits_mb))
        events = stack.enter_context(contextlib.closing(FrigateEvents(mqtt)))
        try:
            print_message(f"Frigate {api.read_version()} at {api.name}")
        except FrigateError as error:
            raise HmdrnError(f"{error}: check the address, and that Frigate is up") from error
        namer = EventNamer(api, recognizer, classes, store, unknown or "", print_message)
        ended = threading.Event()
        stop.call(ended.set)
        progress = FrigateProgress(api.name, recognizer, namer, events)

        def report_status(event: Event) -> None:
            out(to_json_line(event))

        start_supervision(supervision, progress.status, report_status, print_message, ended.set, stack)
        deadline = None if max_seconds is None else time.monotonic() + max_seconds
        remaining = float("inf") if max_events is None else max_events
        while remaining and not ended.is_set() and (deadline is None or time.monotonic() < deadline):
            event = events.take(_POLL_SECONDS)
            progress.step(event is not None)
            named = None if event is None else namer.handle(event)
            remaining -= named is not None and named.event.kind == "end"
            if named is not None and (named.written or named.event.kind == "end"):
                out(json.dumps(_describe(named)))
    return 130 if stop.received == signal.SIGINT else 0


def _describe(named: NamedEvent) -> dict[str, object]:
    event, naming = named.event, named.naming
    values = {
        "event": event.kind,
        "id": event.id,
        "camera": event.camera,
        "object": event.label,
        "label": naming.label,
        "known": naming.known,
        "probability": naming.probability,
        "nearest": naming.nearest,
        "pictures": named.pictures,
        "written": named.written,
    }
    return with_schema("frigate", values)
