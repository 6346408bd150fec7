"""The device's own source, live: names drawn over the picture, pause, and enrolling what it shows."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hmdrn.studio.boxes import BOX_SIDES, box_fields, parse_box
from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, render_page, species_field
from hmdrn.studio.live import LiveView
from hmdrn.studio.live_picture import MAX_RATE
from hmdrn.studio.live_status import GIVEN, MOTION, NO_DETECTOR
from hmdrn.studio.pages.enroll_job import run_enrollment
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn_runtime.errors import HmdrnError

e = element
_PAGE = "/live"
_BOUNDARY = "frame"
_MAX_SENT = 120.0
"""Pictures a second to all viewers together: many of them get fewer each, so that naming goes on."""
_REPEAT_SECONDS = 0.25
"""Seconds until a picture is sent again if no new one comes: Chromium shows one when the next begins."""
_DETECTORS = {
    NO_DETECTOR: "nothing: all of it is one subject",
    MOTION: "motion, before a camera that does not move",
    GIVEN: "the detector that the studio was started with",
}


def list_routes(session: StudioSession, live: LiveView | None, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = LivePage(session, live, notices)
    return [
        Route(_PAGE, answer(page.show)),
        Route("/live/picture", answer(page.stream)),
        Route("/live/status", answer(page.send_status)),
        Route("/live/view", change(page.look_at, _PAGE, notices), methods=["POST"]),
        Route("/live/pause", change(page.pause, _PAGE, notices), methods=["POST"]),
        Route("/live/enroll", change(page.enroll, _PAGE, notices), methods=["POST"]),
    ]


class LivePage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, live: LiveView | None, notices: Notices) -> None:
        self._session, self._live, self._notices = session, live, notices
        self._viewers = 0

    def show(self, sent: Sent) -> Response:
        """Show the live picture."""
        session, live = self._session, self._live
        if live is None:
            text = (
                "No source is watched. Start the studio with --source: a camera's number, a film, an address."
            )
            link = e("a", "This browser's camera", href="/classify")
            return render_page(session, _PAGE, "Live", e("p", text), e("p", link, " can be named instead."))
        status = live.status
        pause = form(
            "/live/pause",
            button(
                "Continue" if status.is_paused else "Pause", name="pause", value=str(not status.is_paused)
            ),
        )
        enrolling = form("/live/enroll", species_field("What it shows is"), button("Enroll the last seconds"))
        return render_page(
            session,
            _PAGE,
            "Live",
            e("p", status.source),
            e(
                "div",
                e(
                    "img",
                    src="/live/picture",
                    alt="Live picture with names",
                    class_="picture",
                    data_live=True,
                ),
                class_="pick",
                data_pick="live-view",
            ),
            e("p", "", id="live-answer", role="status"),
            e("p", "", id="live-evidence"),
            e("p", "", id="live-figures"),
            _explain_unchecked(session),
            e("section", pause, enrolling),
            _render_view(live),
            notice=self._notices.find(sent),
        )

    def stream(self, sent: Sent) -> Response:
        """Send JPEGs, each replacing the one before, for as long as the viewer stays."""
        if self._live is None:
            return PlainTextResponse("no source is watched\n", 404)
        media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(self._stream_parts(self._live), media_type=media_type)

    async def _stream_parts(self, view: LiveView) -> AsyncIterator[bytes]:
        """Yield the pictures as parts; no thread waits, however many viewers there are."""
        # The boundary comes after each picture: browsers show one when they see it.
        boundary, last = f"--{_BOUNDARY}\r\n".encode(), 0
        repeat_at = math.inf
        self._viewers += 1
        try:
            yield boundary
            while True:
                number, jpeg = await run_in_threadpool(view.picture.look)
                now = time.monotonic()
                if number != last or now >= repeat_at:
                    repeat_at = now + _REPEAT_SECONDS if number != last else math.inf
                    last = number
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    yield head.encode() + jpeg + b"\r\n" + boundary
                elif view.status.has_ended:
                    return
                interval = max(1 / MAX_RATE, self._viewers / _MAX_SENT)
                # All viewers look at the same moments, and so share the picture.
                await asyncio.sleep(interval - time.monotonic() % interval)
        finally:
            self._viewers -= 1

    def send_status(self, sent: Sent) -> Response:
        """Send names and figures."""
        if self._live is None:
            return PlainTextResponse("no source is watched\n", 404)
        return JSONResponse(asdict(self._live.status))

    def look_at(self, sent: Sent) -> Response:
        """Watch another region, or by another detector."""
        if self._live is None:
            raise HmdrnError("no source is watched")
        sides = [sent.text(side).strip() for side in BOX_SIDES]
        is_whole = sent.text("action") == "whole" or not any(sides)
        region = None if is_whole else parse_box(sides)
        self._live.look_at(region, sent.text("detector"))
        what = "The whole picture is watched" if region is None else "The region is watched"
        return self._notices.redirect(_PAGE, f"{what} from the next frame on.")

    def pause(self, sent: Sent) -> Response:
        """Pause or continue."""
        if self._live is not None:
            self._live.pause(sent.text("pause") == "True")
        return self._notices.redirect(_PAGE)

    def enroll(self, sent: Sent) -> Response:
        """Enroll the most useful of the last frames."""
        frames = [] if self._live is None else self._live.list_frames()
        session, label = self._session, sent.text("label")
        return run_enrollment(
            session, self._notices, lambda progress: session.enroll_frames(label, frames, progress), "frames"
        )


def _render_view(live: LiveView) -> Html:
    """Return the form for the region and the detector."""
    status = live.status
    choices = [
        e(
            "label",
            e("input", type="radio", name="detector", value=name, checked=name == status.detector),
            f" {_DETECTORS[name]}",
            class_="check",
        )
        for name in live.detectors
    ]
    return e(
        "section",
        e("h2", "Region and subjects"),
        form(
            "/live/view",
            e("p", "Drag over the picture to watch a part of it alone, or give its edges in pixels."),
            box_fields(status.region),
            e("fieldset", e("legend", "Find the subjects by"), *choices),
            button("Watch this"),
            button("Watch the whole picture", name="action", value="whole"),
            id="live-view",
        ),
    )


def _explain_unchecked(session: StudioSession) -> Html | None:
    """Return the reason for which nothing is called known or unknown, if nothing is."""
    if session.rate is not None or not len(session.gallery):
        return None
    link = e("a", "Set how many strangers may pass", href="/gallery#rate")
    return e(
        "p",
        "Whatever it is, it gets the name of an enrolled species. ",
        link,
        " to have strangers called unknown.",
    )
