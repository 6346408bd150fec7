"""Enrolling: upload photos, see each one's verdict, and act on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing

from PIL import Image
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hmdrn.studio.access import MAX_UPLOAD
from hmdrn.studio.boxes import parse_box
from hmdrn.studio.enrollment import EnrollmentBatch
from hmdrn.studio.html import element
from hmdrn.studio.jobs import JobProgress
from hmdrn.studio.layout import button, form, render_page, species_field
from hmdrn.studio.pages.enroll_job import run_enrollment
from hmdrn.studio.pages.enroll_report import render_batch
from hmdrn.studio.pages.enroll_visits import render_visits
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.upload_folder import MAX_BYTES, UploadFolders
from hmdrn.studio.uploads import FOLDER, MAX_PHOTOS, read_uploads
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box

e = element
_PAGE = "/enroll"
_PART_BYTES = 32 * 10**6
"""Bytes from which the page sends an upload in several requests."""


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = EnrollPage(session, notices)
    return [
        Route(_PAGE, answer(page.show), methods=["GET"]),
        Route(_PAGE, change(page.enroll, _PAGE, notices), methods=["POST"]),
        Route("/enroll/part", change(page.keep_part, _PAGE, notices), methods=["POST"]),
        Route("/enroll/decide", change(page.decide, _PAGE, notices), methods=["POST"]),
        Route("/enroll/photo", answer(page.send_photo)),
    ]


class EnrollPage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices
        self._folders = UploadFolders()

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
            data_files=MAX_PHOTOS,
            data_bytes=MAX_BYTES,
            data_request_bytes=MAX_UPLOAD,
            data_part_bytes=_PART_BYTES,
        )
        batch = session.batch
        return render_page(
            session,
            _PAGE,
            "Enroll",
            e("section", upload, e("script", src="/static/enroll.js", defer=True)),
            None if batch is None else render_batch(batch, session.rate),
            render_visits(session),
            notice=self._notices.find(sent),
        )

    def enroll(self, sent: Sent) -> Response:
        """Enroll uploaded photos as a job."""
        label, boxes = sent.text("label"), _read_boxes(sent.fields.get("crop", []))
        folder = self._folders.take(sent.text("upload"), sent.uploads)
        session = self._session

        def work(progress: JobProgress) -> EnrollmentBatch:
            with closing(folder):
                preprocessing = session.recognizer.preprocessing
                uploads = read_uploads(folder.uploads, label, preprocessing, boxes, progress)
            return session.enroll(uploads.species, uploads.problems, progress)

        return run_enrollment(session, self._notices, work, "photos")

    def keep_part(self, sent: Sent) -> Response:
        """Keep the files of a part of an upload until the last part, which enrolls them."""
        return JSONResponse({"upload": self._folders.add(sent.text("upload"), sent.uploads)})

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
