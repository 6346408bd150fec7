"""The diary by day, corrections, and the inbox of strangers."""

from __future__ import annotations

from itertools import groupby
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, hidden, percent, render_page, species_field
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.visits.filter import VisitFilter, parse_time
from hmdrn.visits.statistics import count_visits
from hmdrn.visits.store import VisitStore
from hmdrn.visits.visit import Visit
from hmdrn_runtime.errors import HmdrnError

e = element
_PAGE, _INBOX = "/visits", "/inbox"
_SHOWN = 200
_KNOWN = {"": None, "known": True, "unknown": False}
_IN_GROUP = 6


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = VisitsPage(session, notices)
    return [
        Route(_PAGE, answer(page.show)),
        Route(_INBOX, answer(page.show_inbox)),
        Route("/visits/picture", answer(page.send_picture)),
        Route("/visits/correct", change(page.correct, _PAGE, notices), methods=["POST"]),
        Route("/visits/undo", change(page.undo, _PAGE, notices), methods=["POST"]),
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
            where = _parse_filter(query)
        except HmdrnError as error:
            where, message = VisitFilter(), (str(error), True)
        visits = self._store.find(where, _SHOWN, newest_first=True)
        days = [
            e("section", e("h2", day), e("ul", *(self._render(visit) for visit in members), class_="photos"))
            for day, members in groupby(visits, lambda visit: f"{visit.start.astimezone():%A, %Y-%m-%d}")
        ]
        total = self._store.count(where)
        more = f" The newest {_SHOWN} are shown." if total > _SHOWN else ""
        return render_page(
            self._session,
            _PAGE,
            "Visits",
            e(
                "p",
                f"{total} visit{'s' * (total != 1)}. {_count_species(visits)}{more} ",
                e("a", "Inbox of strangers", href=_INBOX),
            ),
            self._render_filter(query),
            *days,
            form("/visits/undo", button("Undo the last correction")),
            notice=message,
        )

    def show_inbox(self, sent: Sent) -> Response:
        """Show unknown visits in groups that look alike."""
        from hmdrn.visits.inbox import group_unknown_visits

        groups = group_unknown_visits(self._store, self._session.recognizer)
        sections = []
        for group in groups:
            count = len(group.visits)
            question = "One visit" if count == 1 else f"One new species, {count} visits?"
            pictures = [_picture(visit) for visit in group.visits[:_IN_GROUP]]
            ids = [hidden("visit", visit.id) for visit in group.visits]
            title = "Name it" if count == 1 else f"Name all {count}"
            sections.append(
                e(
                    "section",
                    e("h2", question),
                    e("div", *pictures, class_="row"),
                    _naming(ids, title, _INBOX),
                )
            )
        empty = e("p", "No unknown visits with pictures.")
        return render_page(
            self._session,
            _PAGE,
            "Inbox of strangers",
            e("p", e("a", "All visits", href=_PAGE)),
            *(sections or [empty]),
            notice=self._notices.find(sent),
        )

    def correct(self, sent: Sent) -> Response:
        """Give visits their right name, and teach the gallery."""
        ids = [int(text) for text in sent.fields.get("visit", []) if text.isdecimal() and len(text) < 16]
        label = None if sent.text("action") == "not-a-subject" else sent.text("label")
        correction = self._session.correct_visits(ids, label)
        what = correction.label or "not a subject"
        taught = f" {correction.enrolled} pictures enrolled." if correction.enrolled else ""
        count = len(correction.visits)
        back = _INBOX if sent.text("back") == _INBOX else _PAGE
        return self._notices.redirect(back, f"{count} visit{'s' * (count != 1)}: {what}.{taught}")

    def undo(self, sent: Sent) -> Response:
        """Undo the last correction, in the gallery too."""
        change = self._session.undo_correction()
        count = len(change.visits)
        return self._notices.redirect(_PAGE, f"Undone for {count} visit{'s' * (count != 1)}.")

    def send_picture(self, sent: Sent) -> Response:
        """Send a picture of a visit."""
        text = sent.query.get("picture", "")
        number = int(text) if text.isdecimal() and len(text) < 16 else 0
        return Response(self._store.read_picture(number), media_type="image/jpeg")

    def _render(self, visit: Visit) -> Html:
        naming = visit.naming
        kind = "good" if naming.label else "unsure"
        return e(
            "li",
            _picture(visit),
            e("p", naming.text, class_="name"),
            e("p", f"{visit.start.astimezone():%H:%M:%S}, {visit.duration:.0f} s, {_evidence(visit)}"),
            e("p", visit.source),
            e("details", e("summary", "Correct"), _naming([hidden("visit", visit.id)], "It is this", _PAGE)),
            class_=kind,
        )

    def _render_filter(self, query: dict[str, str]) -> Html:
        known = query.get("known", "")
        names = {"": "all visits", "known": "with a species", "unknown": "unknown"}
        options = [e("option", text, value=value, selected=value == known) for value, text in names.items()]
        fields = [
            e(
                "label",
                "Species",
                e("input", name="species", list="species", value=query.get("species") or None, maxlength=120),
            ),
            *(
                e("label", text, e("input", type="date", name=name, value=query.get(name) or None))
                for name, text in (("since", "From"), ("until", "To"))
            ),
            e("label", "Show", e("select", *options, name="known")),
        ]
        return e("form", *fields, e("button", "Filter"), action=_PAGE, class_="row filter", role="search")


def _parse_filter(query: dict[str, str]) -> VisitFilter:
    species = query.get("species", "").strip()
    since, until = query.get("since"), query.get("until")
    return VisitFilter(
        species=(species,) if species else (),
        since=parse_time(since) if since else None,
        until=parse_time(until, is_end=True) if until else None,
        known=_KNOWN.get(query.get("known", "")),
    )


def _picture(visit: Visit) -> Html:
    if not visit.pictures:
        return e("p", "no picture kept", class_="blank")
    source = f"/visits/picture?{urlencode({'picture': visit.pictures[0].id})}"
    text = f"Visit {visit.id}: {visit.naming.text}"
    return e("img", src=source, alt=text, loading="lazy", width=160, height=160)


def _naming(ids: list[Html], title: str, back: str) -> Html:
    """Return the forms that name visits."""
    return e(
        "div",
        form(
            "/visits/correct", *ids, hidden("back", back), species_field("It is"), button(title), class_="row"
        ),
        form(
            "/visits/correct",
            *ids,
            hidden("back", back),
            button("Not a subject", name="action", value="not-a-subject"),
        ),
    )


def _evidence(visit: Visit) -> str:
    naming = visit.naming
    if naming.verdict is not None:
        return "corrected"
    if naming.probability is not None:
        return percent(naming.probability)
    return f"most like {naming.nearest}" if naming.nearest else "no evidence"


def _count_species(visits: list[Visit]) -> str:
    counts = [f"{species.text} {species.visits}" for species in count_visits(visits).species[:8]]
    return f"{', '.join(counts)}." if counts else ""
