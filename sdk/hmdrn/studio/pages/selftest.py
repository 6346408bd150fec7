"""The self-test of this device, and its report."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hmdrn.doctor.probe_runner import run_probe
from hmdrn.doctor.redaction import private_folders, private_names, redact
from hmdrn.selftest.page import format_page
from hmdrn.selftest.selftest import run_selftest
from hmdrn.studio.html import Html, element
from hmdrn.studio.jobs import JobProgress
from hmdrn.studio.layout import button, form, render_page, table
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession

e = element
_PAGE = "/selftest"


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = SelfTestPage(session, notices)
    return [
        Route(_PAGE, answer(page.show), methods=["GET"]),
        Route(_PAGE, change(page.start, _PAGE, notices), methods=["POST"]),
        Route("/selftest/report", answer(page.send_report)),
    ]


class SelfTestPage:
    """The page, and the last report."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices
        self._lock = threading.Lock()
        self._values: Mapping[str, Any] | None = None

    def show(self, sent: Sent) -> Response:
        """Show the last report."""
        name = self._session.recognizer.bundle.path.stem
        text = (
            f"Tries {name} on all that this device has, compares each with the reference on the CPU, and "
            "measures it: the quick test, about a minute. Nothing is sent anywhere."
        )
        values, is_busy = self._values, self._session.jobs.running is not None
        return render_page(
            self._session,
            "/models",
            "Self-test",
            e("p", e("a", "All models", href="/models")),
            e("section", e("p", text), None if is_busy else form(_PAGE, button("Run the self-test"))),
            None if values is None else _render_report(values),
            notice=self._notices.find(sent),
        )

    def start(self, sent: Sent) -> Response:
        """Run the self-test as a job."""
        path = self._session.recognizer.bundle.path

        def work(progress: JobProgress) -> str:
            run = partial(run_probe, is_cancelled=progress.is_cancelled)
            result = run_selftest(str(path), path, quick=True, report=progress, run=run)
            progress.check()
            values = redact(result.to_dict(), private_names(), private_folders(str(path)))
            with self._lock:
                self._values = values
            return "nothing failed" if result.works else "some parts failed"

        self._session.jobs.start("Self-test", _PAGE, work)
        return self._notices.redirect(_PAGE)

    def send_report(self, sent: Sent) -> Response:
        """Send the last report as Markdown, as `hmdrn selftest` prints it."""
        if self._values is None:
            return PlainTextResponse("there is no report yet\n", 404)
        headers = {"content-disposition": 'attachment; filename="selftest.md"'}
        return PlainTextResponse(format_page(self._values), headers=headers)


def _render_report(values: Mapping[str, Any]) -> Html:
    rows = [
        e(
            "tr",
            e("th", part["name"], scope="row"),
            e("td", part["status"], class_=_KIND.get(part["status"])),
            e("td", f"{part['seconds']:.1f}"),
            e("td", _describe_latency(part)),
            e("td", str(part["reason"]), class_="text"),
        )
        for part in values["parts"]
    ]
    heads = ("Part", "Result", "Seconds", "Photo to name", "Reason")
    return e(
        "section",
        e("h2", "Nothing failed" if values["works"] else "Some parts failed"),
        table("Parts of the self-test", heads, rows),
        e("p", "The report names neither user nor host, no folders and no serial numbers."),
        e("p", e("a", "Download the report", href="/selftest/report", download=True, class_="button")),
        e("details", e("summary", "The whole report"), _render_text(format_page(values))),
    )


_KIND = {"passed": "decision", "failed": "warning"}


def _describe_latency(part: Mapping[str, Any]) -> str:
    latency = (part["answer"] or {}).get("latency")
    return "" if latency is None else f"{latency['total']['p50']:.1f} ms"


def _render_text(text: str) -> Html:
    return e("pre", text, class_="scroll", tabindex=0, role="region", aria_label="The whole report")
