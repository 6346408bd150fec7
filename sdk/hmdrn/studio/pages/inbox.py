"""The inbox: unknown visits in groups that look alike, a question for each group."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, hidden, render_page, species_field
from hmdrn.studio.pages.visit_parts import CORRECT, render_enroll_button, render_media, render_rename
from hmdrn.studio.requests import Notices, Sent, answer
from hmdrn.studio.session import StudioSession
from hmdrn.visits.inbox import VisitGroup, group_unknown_visits
from hmdrn_runtime.errors import HmdrnError

e = element
PAGE = "/inbox"
_IN_GROUP = 6


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the address of the page."""

    def show(sent: Sent) -> Response:
        content: list[Html]
        try:
            groups = group_unknown_visits(session.diary, session.recognizer)
            content = [_render_group(group) for group in groups]
            if content:
                content.append(render_rename(PAGE))
        except HmdrnError as error:
            content = [e("p", _describe(error, session), class_="warning")]
        if not content:
            content = [e("p", "No unknown visits with pictures.")]
        if session.rate is None and session.recognizer.background is not None:
            hint = e("a", "set how many strangers may pass", href="/gallery#rate")
            content.insert(0, e("p", "Nothing counts as unknown until you ", hint, "."))
        return render_page(
            session,
            "/visits",
            "Inbox of strangers",
            e("p", e("a", "All visits", href="/visits")),
            *content,
            notice=notices.find(sent),
        )

    return [Route(PAGE, answer(show))]


def _describe(error: HmdrnError, session: StudioSession) -> str:
    """Return an error that names no folder of the device."""
    bundle = session.recognizer.bundle.path
    return str(error).replace(str(bundle), bundle.name)


def _render_group(group: VisitGroup) -> Html:
    count = len(group.visits)
    ids = [hidden("visit", visit.id) for visit in group.visits]
    fields = [*ids, hidden("back", PAGE)]
    title = "Name it" if count == 1 else f"Name all {count}"
    first, last = (f"{f(visit.start for visit in group.visits).astimezone():%Y-%m-%d}" for f in (min, max))
    days = f"on {first}" if first == last else f"from {first} to {last}"
    nearest = {visit.naming.nearest for visit in group.visits[:_IN_GROUP] if visit.naming.nearest}
    like = f" Most like {' or '.join(sorted(nearest)[:3])}." if nearest else ""
    more = count - _IN_GROUP
    nothing = button("Not a subject", name="action", value="not-a-subject")
    return e(
        "section",
        e("h2", "One visit" if count == 1 else f"One new species, {count} visits?"),
        e("p", f"Seen {days}.{like}"),
        e("div", *(render_media(visit) for visit in group.visits[:_IN_GROUP]), class_="row"),
        e("p", f"and {more} more") if more > 0 else None,
        form(
            CORRECT,
            *fields,
            species_field("It is"),
            button(title),
            render_enroll_button("this visit" if count == 1 else f"these {count} visits"),
            class_="row",
        ),
        form(CORRECT, *fields, nothing),
    )
