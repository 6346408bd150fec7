"""The frame of every page: navigation, notices, and forms' common parts."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from starlette.responses import HTMLResponse

from hmdrn.studio.html import Child, Html, element
from hmdrn.studio.jobs import RUNNING
from hmdrn.studio.requests import find_version
from hmdrn.studio.session import StudioSession

e = element

PAGES = {
    "/enroll": "Enroll",
    "/gallery": "Gallery",
    "/classify": "Name a photo",
    "/live": "Live",
    "/visits": "Visits",
    "/models": "Models",
}


def render_page(
    session: StudioSession, path: str, title: str, *content: Child, notice: tuple[str, bool] | None = None
) -> HTMLResponse:
    """Return a page.

    Args:
        session: The studio.
        path: The page's entry in the navigation.
        title: Its heading.
        content: Below the heading.
        notice: A message, and whether it is an error.
    """
    links = [
        e("a", name, href=target, aria_current="page" if target == path else None)
        for target, name in PAGES.items()
        if target != "/visits" or session.visits is not None
    ]
    head = e(
        "head",
        e("meta", charset="utf-8"),
        e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        e("meta", name="color-scheme", content="light dark"),
        e("title", f"{title} - hmdrn studio"),
        e("link", rel="icon", href="/static/icon.svg"),
        e("link", rel="stylesheet", href="/static/studio.css"),
        e("script", src="/static/studio.js", defer=True),
    )
    message = None
    if notice is not None:
        text, is_error = notice
        message = e(
            "p", text, class_="notice error" if is_error else "notice", role="alert" if is_error else "status"
        )
    body = e(
        "body",
        e("a", "Skip to the content", href="#content", class_="skip"),
        e("header", e("nav", *links, aria_label="Pages")),
        e("main", e("h1", title), message, _render_job(session, path), *content, id="content"),
        e(
            "p",
            "Something has changed here. ",
            e("a", "Show it", href=""),
            id="stale",
            role="status",
            hidden=True,
        ),
        e("datalist", *(e("option", value=label) for label in session.gallery.species), id="species"),
        data_version=find_version() or session.version,
    )
    return HTMLResponse(Html("<!doctype html>") + e("html", head, body, lang="en"))


def _render_job(session: StudioSession, path: str) -> Html | None:
    """Return the running job with its progress, or the result of the last one until it is dismissed."""
    job = session.jobs.status
    if job is None or job.is_seen:
        return None
    if job.state == RUNNING:
        bar = e(
            "progress", value=job.done if job.total > 1 else None, max=job.total or None, aria_label=job.title
        )
        text = e("p", f"{job.title}: ", e("span", job.step or "starting", id="job-step"))
        cancel = form("/jobs/cancel", hidden("job", job.number), button("Cancel", f"Cancel {job.title}"))
        return e("section", text, bar, cancel, class_="job", id="job", aria_label="Long work")
    text = e("p", f"{job.title}: {job.message}", role="status")
    link = None if job.page == path else e("a", "Show it", href=job.page, class_="button")
    seen = form("/jobs/dismiss", hidden("job", job.number), button("Close", f"Close {job.title}"))
    return e("section", text, e("div", link, seen, class_="row"), class_="job", aria_label="Finished work")


def form(
    action: str,
    *content: Child,
    uploads: bool = False,
    class_: str | None = None,
    **attributes: str | int | bool | None,
) -> Html:
    """Return a form that changes something."""
    encoding = "multipart/form-data" if uploads else None
    return e("form", *content, action=action, method="post", enctype=encoding, class_=class_, **attributes)


def hidden(name: str, value: object) -> Html:
    """Return a field that is not shown."""
    return e("input", type="hidden", name=name, value=str(value))


def button(text: str, label: str | None = None, **attributes: str | bool | None) -> Html:
    """Return a button that sends its form; `label` is for screen readers, where the text is not enough."""
    return e("button", text, type="submit", aria_label=label, **attributes)


def species_field(text: str, value: str = "", required: bool = True) -> Html:
    """Return the field "label" for a species, new or one of those that `render_page` lists."""
    field = e(
        "input",
        name="label",
        value=value or None,
        list="species",
        required=required,
        maxlength=120,
        autocomplete="off",
    )
    return e("label", text, field)


def table(name: str, heads: Sequence[str], rows: Sequence[Html], class_: str | None = None) -> Html:
    """Return a table that scrolls on narrow screens, by keyboard too; `name` is for screen readers."""
    titles = [e("th", head, scope="col") for head in heads]
    content = e("table", e("thead", e("tr", *titles)), e("tbody", *rows), class_=class_)
    return e("div", content, class_="scroll", tabindex=0, role="region", aria_label=name)


def thumbnail(label: str, digest: str, text: str) -> Html:
    """Return the picture of an enrolled photo."""
    source = f"/thumbnail?label={quote(label, safe='')}&photo={quote(digest, safe='')}"
    return e("img", src=source, alt=text, loading="lazy", width=96, height=96)


def percent(share: float) -> str:
    """Return a share as text, e.g. "97 %"."""
    return (
        f"{100 * share:.0f} %"
        if 0.005 <= share <= 0.995 or share in (0, 1)
        else ("under 1 %" if share < 0.5 else "over 99 %")
    )
