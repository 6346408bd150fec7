"""The diary by day and species, its filter, and corrections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element, join
from hmdrn.studio.layout import button, form, render_page
from hmdrn.studio.pages import inbox, visit_clip, visit_statistics
from hmdrn.studio.pages.visit_filter import FILTER, PAGE, parse_filter, render_filter
from hmdrn.studio.pages.visit_parts import CORRECT, RENAME, list_visits, render_rename, render_visit
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.progress import ProgressCallback, ignore_progress

e = element
_SHOWN = 100
_KEYS = 9
_AT_ONCE = 20
"""Visits that are corrected while the browser waits; more are a job with progress."""


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page, of the inbox and of the statistics."""
    page = VisitsPage(session, notices)
    return [
        Route(PAGE, answer(page.show)),
        Route("/visits/picture", answer(page.send_picture)),
        Route(CORRECT, change(page.correct, PAGE, notices), methods=["POST"]),
        Route(RENAME, change(page.rename, PAGE, notices), methods=["POST"]),
        Route("/visits/undo", change(page.undo, PAGE, notices), methods=["POST"]),
        *inbox.list_routes(session, notices),
        *visit_statistics.list_routes(session),
        *visit_clip.list_routes(session),
    ]


class VisitsPage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices

    @property
    def _store(self) -> VisitStore:
        return self._session.diary

    def show(self, sent: Sent) -> Response:
        """Show the visits that a filter leaves, the newest first."""
        query, message = sent.query, self._notices.find(sent)
        try:
            where = parse_filter(query)
        except HmdrnError as error:
            where, message = VisitFilter(), (str(error), True)
        text = query.get("page", "")
        number = int(text) if text.isdecimal() and len(text) < 6 else 0
        found = self._store.find(where, _SHOWN * (number + 1), newest_first=True)
        visits, total = found[_SHOWN * number :], self._store.count(where)
        back = urlencode({name: query[name] for name in FILTER if query.get(name)})
        names = self._list_names(visits)
        days = [
            _render_day(day, list(members), names, back)
            for day, members in groupby(visits, lambda visit: visit.start.astimezone().date())
        ]
        older = {**dict(parse_qsl(back)), "page": str(number + 1)}
        return render_page(
            self._session,
            PAGE,
            "Visits",
            e(
                "p",
                f"{total} visit{'s' * (total != 1)}. ",
                e("a", "Inbox of strangers", href=inbox.PAGE, class_="button"),
                e(
                    "a",
                    "Statistics",
                    href=f"{visit_statistics.PAGE}{'?' * bool(back)}{back}",
                    class_="button",
                ),
            ),
            render_filter(query),
            _render_keys(names) if visits else None,
            *(days or [e("p", _describe_none(bool(back)))]),
            e("p", e("a", "Older visits", href=f"{PAGE}?{urlencode(older)}", class_="button"))
            if total > len(found)
            else None,
            render_rename(back) if visits else None,
            form("/visits/undo", button("Undo the last correction", data_action="undo")),
            notice=message,
        )

    def correct(self, sent: Sent) -> Response:
        """Give visits their right name, and teach the gallery."""
        ids = list_visits(sent)
        label = None if sent.text("action") == "not-a-subject" else sent.text("label")
        back = self._find_way_back(sent, ids)
        if len(ids) <= _AT_ONCE:
            return self._notices.redirect(back, self._correct(ids, label, ignore_progress))
        session = self._session
        text = session.jobs.run("Naming visits", PAGE, partial(self._correct, ids, label), session.patience)
        return self._notices.redirect(back, text or "")

    def _correct(self, ids: Sequence[int], label: str | None, report: ProgressCallback) -> str:
        correction = self._session.correct_visits(ids, label, report)
        what = correction.label or "not a subject"
        pictures = correction.enrolled
        taught = f" {pictures} picture{'s' * (pictures != 1)} enrolled." if pictures else ""
        count = len(correction.visits)
        return f"{count} visit{'s' * (count != 1)}: {what}.{taught}"

    def _find_way_back(self, sent: Sent, ids: Sequence[int]) -> str:
        if sent.text("back") == inbox.PAGE:
            return inbox.PAGE
        # Rebuilt from its parts: a form cannot lead to another page.
        filter_ = urlencode([pair for pair in parse_qsl(sent.text("back")) if pair[0] in FILTER])
        return f"{PAGE}{'?' * bool(filter_)}{filter_}{f'#visit-{ids[0]}' if ids else ''}"

    def rename(self, sent: Sent) -> Response:
        """Name visits anew with the present gallery, as a job."""
        session = self._session
        text = session.jobs.run("Naming visits anew", PAGE, self._rename, session.patience)
        return self._notices.redirect(self._find_way_back(sent, []), text or "")

    def _rename(self, report: ProgressCallback) -> str:
        count = self._session.rename_visits(report)
        return f"{count} visit{'s have' if count != 1 else ' has'} another name now."

    def undo(self, sent: Sent) -> Response:
        """Undo the last correction, in the gallery too."""
        change = self._session.undo_correction()
        count = len(change.visits)
        return self._notices.redirect(PAGE, f"Undone for {count} visit{'s' * (count != 1)}.")

    def send_picture(self, sent: Sent) -> Response:
        """Send a picture of a visit."""
        text = sent.query.get("picture", "")
        number = int(text) if text.isdecimal() and len(text) < 16 else 0
        return Response(self._store.read_picture(number), media_type="image/jpeg")

    def _list_names(self, visits: Sequence[Visit]) -> list[str]:
        """Return the names that digits give: the most frequent species, then the others."""
        counts = Counter(visit.label for visit in visits if visit.label)
        names = [name for name, _ in counts.most_common(_KEYS)]
        return [*names, *(name for name in self._session.gallery.species if name not in counts)][:_KEYS]


def _render_day(day: object, visits: Sequence[Visit], names: Sequence[str], back: str) -> Html:
    counts = Counter((visit.naming.text, visit.label) for visit in visits)
    links = [
        e("a", f"{text} {count}", href=f"{PAGE}?{urlencode({'species': label})}")
        if label
        else e("span", f"{text} {count}")
        for (text, label), count in counts.most_common()
    ]
    return e(
        "section",
        e("h2", f"{day:%A, %Y-%m-%d}"),
        e("p", *(join(link, " ") for link in links), class_="counts"),
        e("ul", *(render_visit(visit, names, back) for visit in visits), class_="photos"),
    )


def _render_keys(names: Sequence[str]) -> Html:
    """Return the list of keys, which scripts show, with a switch: single keys may disturb speech input."""
    keys = {
        "J": "next visit",
        "K": "visit before",
        "R": "its name is right",
        "X": "not a subject",
        "E": "another species",
        "W": "why",
        "U": "undo the last correction",
        **{str(key): name for key, name in enumerate(names, 1)},
    }
    rows = [e("div", e("dt", e("kbd", key)), e("dd", text)) for key, text in keys.items()]
    return e(
        "details",
        e("summary", "Keys"),
        e(
            "label",
            e("input", type="checkbox", id="keys-on", checked=True),
            " Use these keys",
            class_="check",
        ),
        e("dl", *rows, class_="keys"),
        id="keys",
        hidden=True,
    )


def _describe_none(is_filtered: bool) -> str:
    if is_filtered:
        return "No visit passes this filter."
    return "No visits yet: the studio with --source, or hmdrn watch with --visits, writes them."
