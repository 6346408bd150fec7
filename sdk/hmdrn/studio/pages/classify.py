"""Naming a photo: its names with their probabilities, why, and putting it right."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.classified import ClassifiedPhoto, ClassifiedPhotos, draw_shown, draw_why
from hmdrn.studio.html import Html, element, join
from hmdrn.studio.layout import button, form, hidden, percent, render_page, species_field, table
from hmdrn.studio.pages import camera
from hmdrn.studio.pages.camera import describe_prediction
from hmdrn.studio.pages.why import can_draw, render_distances, render_why
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.uploads import prepare_upload
from hmdrn_runtime.errors import GalleryError, HmdrnError

e = element
_PAGE = "/classify"


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = ClassifyPage(session, notices)
    return [
        Route(_PAGE, answer(page.show), methods=["GET"]),
        Route(_PAGE, change(page.classify, _PAGE, notices), methods=["POST"]),
        Route("/classify/correct", change(page.correct, _PAGE, notices), methods=["POST"]),
        *camera.list_routes(session, notices),
        Route("/classify/photo", answer(page.send_photo)),
        Route("/classify/why", answer(page.send_why)),
        Route("/why", answer(page.explain)),
    ]


class ClassifyPage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices
        self._photos = ClassifiedPhotos()

    def show(self, sent: Sent) -> Response:
        """Show the form, and the photo that was named."""
        session = self._session
        if not len(session.gallery):
            link = e("a", "Enroll a species", href="/enroll")
            text = e("p", link, " first: there is none to name. A camera can show one too:")
            notice = self._notices.find(sent)
            return render_page(session, _PAGE, "Name a photo", text, camera.render_camera(), notice=notice)
        key = sent.query.get("photo")
        photo = None if key is None else self._photos.find(key)
        files = e(
            "input", type="file", name="photo", required=True, accept="image/*,.heic,.avif", class_="drop"
        )
        upload = form(
            _PAGE,
            e("label", "Photo: choose it, take it, or drop it here", files),
            button("Name it"),
            uploads=True,
        )
        return render_page(
            session,
            _PAGE,
            "Name a photo",
            e("section", upload),
            None if photo is None else self._render_answer(photo, sent.query.get("against", "")),
            camera.render_camera() if photo is None else None,
            notice=self._notices.find(sent),
        )

    def classify(self, sent: Sent) -> Response:
        """Name an uploaded photo."""
        if not sent.uploads:
            raise HmdrnError("no photo was chosen: choose or drop one")
        upload = sent.uploads[0]
        photo = self._photos.classify(self._session.recognizer, upload.stream.read(), upload.name)
        return self._notices.redirect(f"{_PAGE}?photo={quote(photo.key)}")

    def explain(self, sent: Sent) -> Response:
        """Name the picture of a visit or an enrolled photo's thumbnail, and show why."""
        photo = self._photos.classify(self._session.recognizer, *self._read_stored(sent.query))
        return self._notices.redirect(f"{_PAGE}?photo={quote(photo.key)}")

    def _read_stored(self, query: Mapping[str, str]) -> tuple[bytes, str, str, int | None]:
        """Return a picture that the studio has, its name, and the enrolled photo's digest or the visit."""
        session = self._session
        if "visit" in query:
            text = query["visit"]
            visit = session.diary.get(int(text) if text.isdecimal() and len(text) < 16 else 0)
            if not visit.pictures:
                raise HmdrnError(f"no picture of visit {visit.id} is kept: there is nothing to explain")
            return session.diary.read_picture(visit.pictures[0].id), f"Visit {visit.id}", "", visit.id
        (species,) = session.gallery.select([query.get("label", "")]).values()
        photo = species.photos.get(query.get("photo", ""))
        if photo is None or photo.thumbnail is None:
            raise HmdrnError("no picture of this photo is kept: there is nothing to explain")
        return photo.thumbnail, photo.record.name or photo.digest[:12], photo.digest, None

    def correct(self, sent: Sent) -> Response:
        """Enroll the photo under its right species; if it is a visit's, that gets the name too."""
        photo = self._photos.find(sent.text("photo"))
        if photo.visit is not None:
            label = self._session.correct_visits([photo.visit], sent.text("label")).label
            return self._notices.redirect(
                f"{_PAGE}?photo={quote(photo.key)}",
                f"{photo.name} is {label}, and the gallery has learned it.",
            )
        prepared = prepare_upload(photo.data, photo.name, self._session.recognizer.preprocessing)
        correction = self._session.correct(prepared, sent.text("label"))
        count = correction.enrollment.shots
        text = f"{photo.name} is enrolled as {correction.label}, which has {count} photos."
        if correction.after is not None:
            before = "" if correction.before is None else f" (before: {correction.before})"
            text += f" Expected right on new photos: {correction.after}{before}."
        return self._notices.redirect(f"{_PAGE}?photo={quote(photo.key)}", text)

    def send_photo(self, sent: Sent) -> Response:
        """Send the photo as it is shown."""
        return Response(draw_shown(self._photos.find(sent.query.get("photo", ""))), media_type="image/jpeg")

    def send_why(self, sent: Sent) -> Response:
        """Send the explanation as a picture."""
        if not can_draw():
            raise GalleryError("pictures of why need the extra `plots`")
        photo = self._photos.find(sent.query.get("photo", ""))
        picture = draw_why(self._session.recognizer, photo, sent.query.get("against") or None)
        return Response(picture, media_type="image/png")

    def _render_answer(self, photo: ClassifiedPhoto, against: str) -> Html:
        prediction, key = photo.prediction, quote(photo.key)
        rows = [
            e(
                "tr",
                e("th", match.label, scope="row"),
                e(
                    "td",
                    e("meter", value=round(match.probability, 4), aria_label=match.label),
                    f" {percent(match.probability)}",
                ),
            )
            for match in prediction.ranking
        ]
        picture = e("img", src=f"/classify/photo?photo={key}", alt=photo.name, class_="picture photo")
        named = e(
            "section",
            e("h2", describe_prediction(prediction)),
            e("p", photo.name),
            e(
                "div",
                picture,
                e("div", table("Ranking", ("Species", "Probability"), rows), render_distances(photo)),
                class_="beside",
            ),
        )
        correction = e(
            "section",
            e("h2", "Is it something else?"),
            form(
                "/classify/correct",
                hidden("photo", photo.key),
                species_field("It is"),
                button("Enroll it as this"),
            ),
        )
        return join(named, render_why(self._session, photo, against), correction)
