"""Enrolling: upload photos, see each one's verdict, and act on it."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hmdrn.studio.boxes import parse_box
from hmdrn.studio.enrollment import EnrolledPhoto, EnrollmentBatch
from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, hidden, render_page, species_field
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.uploads import FOLDER, read_uploads
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box

e = element
_PAGE = "/enroll"


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = EnrollPage(session, notices)
    return [
        Route(_PAGE, answer(page.show), methods=["GET"]),
        Route(_PAGE, change(page.enroll, _PAGE, notices), methods=["POST"]),
        Route("/enroll/decide", change(page.decide, _PAGE, notices), methods=["POST"]),
        Route("/enroll/photo", answer(page.send_photo)),
    ]


class EnrollPage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices

    def show(self, sent: Sent) -> Response:
        """Show the form, and the last enrollment."""
        session = self._session
        files = e(
            "input",
            type="file",
            name="photos",
            multiple=True,
            accept="image/*,.heic,.avif,.zip",
            class_="drop",
        )
        folder = e("input", type="file", name=FOLDER, webkitdirectory=True, multiple=True, id="folder")
        upload = form(
            _PAGE,
            species_field("Species", required=False),
            e("label", "Photos: choose them, or drop them here", files),
            e("p", "", id="dropped", role="status"),
            e("ul", class_="photos", id="crops", hidden=True, aria_label="Crop the photos"),
            e("label", "Or a folder, with a folder for each species", folder),
            e(
                "p",
                "Five to ten different photos of each species are usual. A zip or folder with a "
                "folder for each species needs no name here.",
            ),
            button("Enroll"),
            uploads=True,
            id="enroll",
        )
        batch = session.batch
        return render_page(
            session,
            _PAGE,
            "Enroll",
            e("section", upload),
            None if batch is None else _render_batch(batch),
            notice=self._notices.find(sent),
        )

    def enroll(self, sent: Sent) -> Response:
        """Enroll uploaded photos."""
        preprocessing = self._session.recognizer.preprocessing
        boxes = _read_boxes(sent.fields.get("crop", []))
        uploads = read_uploads(sent.uploads, sent.text("label"), preprocessing, boxes)
        batch = self._session.enroll(uploads.species, uploads.problems)
        added = sum(len(report.added) for report in batch.reports)
        names = ", ".join(report.label for report in batch.reports)
        return self._notices.redirect(_PAGE, f"{added} new photos of {names}.")

    def decide(self, sent: Sent) -> Response:
        """Leave out, move or keep a photo."""
        number, index = sent.number("batch"), sent.number("photo")
        decision = self._session.decide(number, index, sent.text("action"), sent.text("label"))
        return self._notices.redirect(f"{_PAGE}#photo-{index}", f"Photo {index + 1}: {decision}.")

    def send_photo(self, sent: Sent) -> Response:
        """Send a photo of the last enrollment."""
        batch, text = self._session.batch, sent.query.get("photo", "")
        index = int(text) if text.isdecimal() and len(text) < 6 else -1
        if (
            batch is None
            or str(batch.number) != sent.query.get("batch")
            or not 0 <= index < len(batch.photos)
        ):
            return PlainTextResponse("no such picture\n", 404)
        file = io.BytesIO()
        Image.fromarray(batch.photos[index].photo.pixels).save(file, "JPEG", quality=90)
        return Response(file.getvalue(), media_type="image/jpeg")


def _read_boxes(texts: Sequence[str]) -> dict[int, Box]:
    """Return boxes of "photo,x0,y0,x1,y1", by the photo's place in the upload from 0."""
    boxes = {}
    for text in texts:
        place, *sides = text.split(",")
        if not place.isdecimal() or len(place) > 5:
            raise HmdrnError(f"the crop is {text[:60]!r}: give the photo's place and four edges in pixels")
        boxes[int(place)] = parse_box(sides)
    return boxes


def _render_batch(batch: EnrollmentBatch) -> Html:
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
        e("p", _describe_change(batch), class_="forecast"),
        e("ul", *warnings, class_="warnings") if warnings else None,
        e("ul", *photos, class_="photos"),
    )


def _render_photo(batch: EnrollmentBatch, index: int, enrolled: EnrolledPhoto) -> Html:
    report = enrolled.report
    kind = "doubtful" if report.issues else "unsure" if (report.fit or 0) < 0 else "good"
    name = report.name or f"photo {index + 1}"
    evidence = f"evidence {report.fit:+.1f}" if report.fit is not None else "no other photo to compare with"
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


def _describe_change(batch: EnrollmentBatch) -> str:
    if batch.after is None:
        return "Enroll a second species, and this says how well both will be recognized."
    before = "" if batch.before is None else f" (before: {batch.before.accuracy})"
    return f"Expected on new photos like these: {batch.after.accuracy} get the right name{before}."
