"""The device's own source, live: names drawn over the picture, pause, and enrolling what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hmdrn.studio.html import element
from hmdrn.studio.layout import button, form, render_page, species_field
from hmdrn.studio.live import MAX_RATE, LiveView
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession

e = element
_PAGE = "/live"
_BOUNDARY = "frame"


def list_routes(session: StudioSession, live: LiveView | None, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = LivePage(session, live, notices)
    return [
        Route(_PAGE, answer(page.show)),
        Route("/live/picture", answer(page.stream)),
        Route("/live/status", answer(page.send_status)),
        Route("/live/pause", change(page.pause, _PAGE, notices), methods=["POST"]),
        Route("/live/enroll", change(page.enroll, _PAGE, notices), methods=["POST"]),
    ]


class LivePage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, live: LiveView | None, notices: Notices) -> None:
        self._session, self._live, self._notices = session, live, notices

    def show(self, sent: Sent) -> Response:
        """Show the live picture."""
        session, live = self._session, self._live
        if live is None:
            text = (
                "No source is watched. Start the studio with --source: a camera's number, a film, an address."
            )
            link = e("a", "This browser's camera", href="/classify")
            return render_page(session, _PAGE, "Live", e("p", text), e("p", link, " can name single frames."))
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
            e("img", src="/live/picture", alt="Live picture with names", class_="picture", data_live=True),
            e("p", "", id="live-answer", role="status"),
            e("p", "", id="live-figures"),
            e("section", pause, enrolling),
            notice=self._notices.find(sent),
        )

    def stream(self, sent: Sent) -> Response:
        """Send JPEGs, each replacing the one before, for as long as the viewer stays."""
        if self._live is None:
            return PlainTextResponse("no source is watched\n", 404)
        media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(_stream_parts(self._live), media_type=media_type)

    def send_status(self, sent: Sent) -> Response:
        """Send names and figures."""
        if self._live is None:
            return PlainTextResponse("no source is watched\n", 404)
        return JSONResponse(asdict(self._live.status))

    def pause(self, sent: Sent) -> Response:
        """Pause or continue."""
        if self._live is not None:
            self._live.pause(sent.text("pause") == "True")
        return self._notices.redirect(_PAGE)

    def enroll(self, sent: Sent) -> Response:
        """Enroll the most useful of the last frames."""
        frames = [] if self._live is None else self._live.list_frames()
        batch = self._session.enroll_frames(sent.text("label"), frames)
        (report,) = batch.reports
        return self._notices.redirect("/enroll", f"{len(report.added)} new frames of {report.label}.")


async def _stream_parts(view: LiveView) -> AsyncIterator[bytes]:
    """Yield the pictures as parts; no thread waits, however many viewers there are."""
    # The boundary comes after each picture: browsers show one when they see it.
    boundary, last = f"--{_BOUNDARY}\r\n".encode(), 0
    yield boundary
    while True:
        number, jpeg = view.look()
        if number != last:
            last = number
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n" + boundary
        elif view.status.has_ended:
            return
        await asyncio.sleep(1 / MAX_RATE)
