"""Progress of long work, and its end by hand."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession

_HOME = "/models"


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses."""
    jobs = session.jobs

    def send_status(sent: Sent) -> Response:
        status = jobs.status
        return JSONResponse({} if status is None else status.to_dict())

    def cancel(sent: Sent) -> Response:
        number = sent.number("job")
        jobs.cancel(number)
        jobs.wait(2)
        return notices.redirect(_find_page(session))

    def dismiss(sent: Sent) -> Response:
        jobs.dismiss(sent.number("job"))
        return notices.redirect(_find_page(session))

    return [
        Route("/jobs/status", answer(send_status)),
        Route("/jobs/cancel", change(cancel, _HOME, notices), methods=["POST"]),
        Route("/jobs/dismiss", change(dismiss, _HOME, notices), methods=["POST"]),
    ]


def _find_page(session: StudioSession) -> str:
    status = session.jobs.status
    return _HOME if status is None else status.page
