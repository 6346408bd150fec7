"""One visit as the diary and the inbox show it: picture, evidence, and the forms that name it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from hmdrn.studio.html import Html, element, join
from hmdrn.studio.layout import button, form, hidden, percent, species_field
from hmdrn.studio.pages.visit_clip import render_clip
from hmdrn.studio.requests import Sent
from hmdrn.visits.visit import Visit

e = element
CORRECT = "/visits/correct"
ENROLL = "/enroll/visits"
RENAME = "/visits/rename"


def render_visit(visit: Visit, names: Sequence[str], back: str) -> Html:
    """Return a visit of the diary.

    Args:
        visit: The visit.
        names: Names that one button or digit gives it.
        back: The filter of the page to return to, as a query.
    """
    naming = visit.naming
    is_open = naming.verdict is None
    what = f"visit {visit.id}, {visit.start.astimezone():%H:%M:%S}"
    fields = [hidden("visit", visit.id), hidden("back", back)]
    suggested = naming.label or naming.nearest
    title = "Right" if naming.label else f"It is {suggested}"
    confirm = form(
        CORRECT,
        *fields,
        hidden("label", suggested or ""),
        button(title, f"{title}: {suggested}, {what}", data_action="confirm"),
    )
    why = e(
        "a",
        "Why?",
        href=f"/why?{urlencode({'visit': visit.id})}",
        class_="button",
        aria_label=f"Why this name? {what}",
        data_action="why",
    )
    no_subject = button(
        "Not a subject", f"Not a subject, {what}", name="action", value="not-a-subject", data_action="none"
    )
    return e(
        "li",
        render_media(visit),
        render_clip(visit),
        e("p", naming.text, class_="name"),
        e(
            "p",
            f"{visit.start.astimezone():%H:%M:%S}, {visit.duration:.0f} s, {describe_evidence(visit)}",
        ),
        e("p", visit.source),
        e(
            "div",
            confirm if suggested and is_open else None,
            why if visit.pictures else None,
            form(CORRECT, *fields, no_subject) if naming.verdict != "not-a-subject" else None,
            class_="row",
        ),
        e(
            "details",
            e("summary", "Another species", data_action="other"),
            _render_choices(fields, names, naming.label, what),
            form(
                CORRECT,
                *fields,
                species_field("It is"),
                button("Name it", f"Name {what}"),
                render_enroll_button(what) if visit.pictures else None,
                class_="row name-it",
            ),
        ),
        class_="good" if naming.label else "unsure",
        id=f"visit-{visit.id}",
        tabindex=-1,
        data_visit=visit.id,
    )


def render_enroll_button(what: str) -> Html:
    """Return a button that names visits, and leads to their pictures' verdicts; `what` is read aloud."""
    return button("Enroll and see verdicts", f"Enroll {what}, and see verdicts", formaction=ENROLL)


def render_rename(back: str) -> Html:
    """Return the button that names visits anew; `back` is the page to return to, as for corrections."""
    return form(
        RENAME,
        hidden("back", back),
        button("Name the visits anew"),
        e("p", "With what the gallery has learned since they came. Names that you gave stay."),
    )


def list_visits(sent: Sent) -> list[int]:
    """Return the numbers of the visits that a form is about."""
    return [int(text) for text in sent.fields.get("visit", []) if text.isdecimal() and len(text) < 16]


def render_media(visit: Visit) -> Html:
    """Return the best picture of a visit."""
    if not visit.pictures:
        return e("p", "no picture kept", class_="blank")
    source = f"/visits/picture?{urlencode({'picture': visit.pictures[0].id})}"
    text = f"Visit {visit.id}: {visit.naming.text}"
    return e("img", src=source, alt=text, loading="lazy", width=160, height=160)


def describe_evidence(visit: Visit) -> str:
    """Return a visit's evidence in words."""
    naming = visit.naming
    if naming.verdict is not None:
        return "checked by a person"
    if naming.probability is not None:
        return percent(naming.probability)
    return f"most like {naming.nearest}" if naming.nearest else "no evidence"


def _render_choices(fields: Sequence[Html], names: Sequence[str], label: str | None, what: str) -> Html:
    choices = [
        form(
            CORRECT,
            *fields,
            hidden("label", name),
            button(f"{key} {name}", f"{name}, {what}", data_key=str(key)),
        )
        for key, name in enumerate(names, 1)
        if name != label
    ]
    return e("div", join(*choices), class_="row")
