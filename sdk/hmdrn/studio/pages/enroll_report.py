"""The last enrollment: what it promises, and each photo's verdict with the buttons that act on it."""

from __future__ import annotations

from hmdrn.studio.enrollment import EnrolledPhoto, EnrollmentBatch
from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, hidden, percent, species_field
from hmdrn_runtime.enrollment.forecast import Estimate

e = element


def render_batch(batch: EnrollmentBatch, rate: float | None) -> Html:
    """Return an enrollment; `rate` is the gallery's false-accept rate, if one is set."""
    issues = [report.issue for report in batch.reports if report.issue is not None]
    both = [
        f"{report.label} and {other} hold the same photo: move or leave out one"
        for report in batch.reports
        for other in report.also_in
    ]
    alike = [
        f"{report.label} and {other} look alike and count as two species"
        for report in batch.reports
        for other in report.similar
    ]
    warnings = [e("li", text) for text in (*batch.problems, *issues, *both, *alike)]
    photos = [_render_photo(batch, index, photo) for index, photo in enumerate(batch.photos)]
    return e(
        "section",
        e("h2", "The last enrollment"),
        _render_promise(batch, rate),
        e("ul", *warnings, class_="warnings") if warnings else None,
        e("ul", *photos, class_="photos"),
    )


def _render_photo(batch: EnrollmentBatch, index: int, enrolled: EnrolledPhoto) -> Html:
    report = enrolled.report
    kind = "doubtful" if report.issues else "unsure" if (report.fit or 0) < 0 else "good"
    name = report.name or f"photo {index + 1}"
    missing = "species" if batch.after is None else "photo"
    evidence = (
        f"evidence {report.fit:+.1f}" if report.fit is not None else f"no other {missing} to compare with"
    )
    decided: Html | None
    if enrolled.decision:
        decided = e("p", enrolled.decision, class_="decision")
    else:
        fields = (hidden("batch", batch.number), hidden("photo", index))
        suggestion = report.nearer_to or report.recognized_as
        suggestion = suggestion if suggestion != report.label else None
        decided = e(
            "div",
            form(
                "/enroll/decide",
                *fields,
                button("Keep", f"Keep {name}", name="action", value="keep"),
                button("Leave out", f"Leave out {name}", name="action", value="leave-out"),
                class_="row",
            ),
            form(
                "/enroll/decide",
                *fields,
                species_field("It is", suggestion or ""),
                button("Move", f"Move {name}", name="action", value="move"),
                class_="row",
            ),
        )
    return e(
        "li",
        e(
            "img",
            src=f"/enroll/photo?batch={batch.number}&photo={index}",
            alt=name,
            width=96,
            height=96,
            loading="lazy",
        ),
        e("p", name, class_="name"),
        e("p", report.label),
        e("p", report.verdict, class_="verdict"),
        e("p", evidence),
        decided,
        class_=kind,
        id=f"photo-{index}",
    )


def _render_promise(batch: EnrollmentBatch, rate: float | None) -> Html:
    """Return what the gallery is expected to do on new photos, and how the enrollment has changed that."""
    before, after = batch.before, batch.after
    if after is None:
        return e("p", "Enroll a second species, and this says how well both will be recognized.")
    right = _describe_share(after.accuracy, "get the right name", None if before is None else before.accuracy)
    lines = [e("li", right)]
    if after.known is not None and rate is not None:
        known = _describe_share(after.known, "count as known", None if before is None else before.known)
        lines.append(e("li", f"{known}, while at most {percent(rate)} of other species should pass"))
    elif rate is None:
        hint = e("a", "Set how many strangers may pass", href="/gallery#rate")
        lines.append(e("li", hint, ", and this says how many of these count as known"))
    return e("div", e("p", "Expected on new photos like these:"), e("ul", *lines), class_="forecast")


def _describe_share(after: Estimate, what: str, before: Estimate | None) -> str:
    return f"{after} {what}" + ("" if before is None else f" (before: {before})")
