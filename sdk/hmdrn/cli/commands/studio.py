"""`hmdrn studio`."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

import click

from hmdrn.cli.detector_options import DetectorOptions, detector_options, open_detector
from hmdrn.cli.gallery_notes import load_with_notes, warn_of_slow_backend
from hmdrn.cli.messages import print_message
from hmdrn.cli.options import PATH, gallery_option, option, require_package, threads_option
from hmdrn.cli.signals import StopOnSignal
from hmdrn.cli.visit_options import check_clips, clips_option
from hmdrn.loading import DEFAULT, load
from hmdrn.visits.store import VisitStore
from hmdrn.watching.sources import parse_source
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.file import check_gallery_path
from hmdrn_runtime.io.files import describe_os_error
from hmdrn_runtime.recognizer import Recognizer


@click.command("studio")
@click.argument("bundle", metavar="[BUNDLE]", default=DEFAULT)
@gallery_option
@option(
    "--source",
    "-s",
    help="What to watch live: a camera's number (0), a film, a folder, an address; as watch.",
)
@detector_options
@option("--visits", type=PATH, help="Diary to show and correct; made if missing.")
@clips_option
@option(
    "--host", default="127.0.0.1", help="Address to listen on; any but loopback asks visitors for a token."
)
@option("--port", type=click.IntRange(0, 65535), default=8420, help="Port; 0 takes a free one.")
@option("--certificate", type=PATH, metavar="PEM", help="Certificate for https.")
@option("--certificate-key", type=PATH, metavar="PEM", help="Its private key, if it is in a file of its own.")
@threads_option
def command(
    bundle: str,
    gallery: Path,
    source: str | None,
    detector: DetectorOptions,
    visits: Path | None,
    clips: float | None,
    host: str,
    port: int,
    certificate: Path | None,
    certificate_key: Path | None,
    threads: int | None,
) -> None:
    """Open a page to see, enroll and correct species in a browser; nothing leaves this device.

    Prints the link to open. GALLERY is made by the first enrollment, and changes that other commands make to
    it appear by themselves. On another address than loopback the link has a token, and is printed as a QR
    code too: whoever has it may change everything. Runs until Ctrl-C or SIGTERM.

    Example: hmdrn studio --gallery site7.gallery
    """
    for package in ("starlette", "uvicorn", "python_multipart", "segno"):
        require_package(package, "hmdrn studio", "studio")
    from hmdrn.studio.access import Access
    from hmdrn.studio.live import LiveView
    from hmdrn.studio.server import create_app, describe_links, make_server
    from hmdrn.studio.session import StudioSession

    parsed = None if source is None else parse_source(source)
    if clips is not None and visits is None:
        raise click.UsageError("--clips is about visits: give --visits FILE too")
    check_clips(clips, parsed)
    with StopOnSignal() as stop, contextlib.ExitStack() as stack:
        store = None if visits is None else stack.enter_context(VisitStore(visits, create=True))
        gallery = check_gallery_path(gallery)
        recognizer = _load(bundle, gallery, threads)
        session = StudioSession(recognizer, gallery, store)
        session.threads = threads
        stack.callback(session.jobs.close)
        view = None
        if source is not None and parsed is not None:
            found_by = open_detector(detector, None, parsed, threads, print_message, stack)
            view = LiveView(recognizer, source, found_by, store, print_message, clips)
        access = Access.for_host(host, secure=certificate is not None)
        listener = stack.enter_context(_listen(host, port))
        server = make_server(create_app(session, access, view), host, port, certificate, certificate_key)
        port = listener.getsockname()[1]
        _print_links(describe_links(host, port, access, _list_addresses(host)), access.token)

        def end() -> None:
            server.should_exit = True
            if view is not None:
                view.stop()  # or the server would wait for the viewers of the live picture

        if view is not None:
            stack.callback(view.close)
            view.start()

        stop.call(end)
        # In a thread of its own, since in the main thread uvicorn would take the signals.
        thread = threading.Thread(target=server.run, args=([listener],), name="hmdrn-studio")
        thread.start()
        while thread.is_alive():
            thread.join(0.2)


def _load(bundle: str, gallery: Path, threads: int | None) -> Recognizer:
    """Open the bundle, with the gallery if it is there, keeping thumbnails of what is enrolled."""
    if gallery.exists():
        recognizer = load_with_notes(bundle, gallery, threads=threads)
    else:
        recognizer = load(bundle, threads=threads)
    warn_of_slow_backend(recognizer)
    recognizer.matcher.keep_thumbnails = True

    def report(message: str) -> None:
        if gallery.exists():  # the first enrollment makes it
            print_message(message)

    recognizer.follow_gallery(gallery, report)
    return recognizer


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise HmdrnError(
            f"cannot listen on {host}, port {port}: {describe_os_error(error)}; give another --host or --port"
        ) from error


def _list_addresses(host: str) -> list[str]:
    """Return this device's address in its network, if it listens on all of them."""
    if host not in ("0.0.0.0", "::"):
        return []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: only the route is looked up
        return [str(probe.getsockname()[0])]
    return [socket.gethostname()]


def _print_links(links: list[str], token: str | None) -> None:
    for link in links:
        click.echo(f"open {link}")
    if token is not None and sys.stdout.isatty():
        import segno

        segno.make(links[0], error="m").terminal(compact=True)
    print_message("Ctrl-C ends it")
