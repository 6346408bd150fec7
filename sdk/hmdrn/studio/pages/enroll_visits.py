"""Enrolling pictures of visits."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, species_field
from hmdrn.studio.pages import inbox
from hmdrn.studio.pages.enroll_job import run_enrollment
from hmdrn.studio.pages.visit_filter import PAGE
from hmdrn.studio.pages.visit_parts import ENROLL, list_visits, render_media
from hmdrn.studio.requests import Notices, Sent, change
from hmdrn.studio.session import StudioSession
from hmdrn.visits.filter import VisitFilter
from hmdrn.visits.visit import Visit

e = element
_OFFERED = 12
"""Visits that the page Enroll offers, the newest."""
_SEARCHED = 100


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the address that visits are enrolled at."""

    def enroll(sent: Sent) -> Response:
        ids, label = list_visits(sent), sent.text("label")
        return run_enrollment(
            session, notices, lambda progress: session.enroll_visits(ids, label, progress), "pictures"
        )

    return [Route(ENROLL, change(enroll, "/enroll", notices), methods=["POST"])]


def render_visits(session: StudioSession) -> Html | None:
    """Return the newest visits that nobody has named, to choose from; None without a diary."""
    if session.visits is None:
        return None
    visits = session.visits.find(VisitFilter(corrected=False), _SEARCHED, newest_first=True)
    offered = [_render_choice(visit) for visit in visits if visit.pictures][:_OFFERED]
    inbox_link = e("a", "Inbox of strangers", href=inbox.PAGE, class_="button")
    visits_link = e("a", "All visits", href=PAGE, class_="button")
    choice = form(
        ENROLL,
        e("p", "Choose visits of one species. Pictures of one visit that are alike count as one photo."),
        e("ul", *offered, class_="photos"),
        species_field("They show"),
        button("Add their pictures"),
    )
    nothing = e("p", "No visit with pictures waits for a name.")
    content = e("details", e("summary", "Choose visits"), choice if offered else nothing)
    return e("section", e("h2", "From visits"), content, e("p", inbox_link, visits_link))


def _render_choice(visit: Visit) -> Html:
    box = e("input", type="checkbox", name="visit", value=visit.id)
    text = f"{visit.start.astimezone():%Y-%m-%d %H:%M}: {visit.naming.text}"
    return e("li", render_media(visit), e("label", box, f" {text}", class_="check"))
