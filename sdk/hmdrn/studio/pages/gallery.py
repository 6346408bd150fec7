"""The gallery: species as cards, one species with its photos, and the changes to them."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hmdrn.studio.html import Child, Html, element, join
from hmdrn.studio.layout import button, form, percent, render_page, table, thumbnail
from hmdrn.studio.requests import Notices, Sent, answer, change
from hmdrn.studio.session import StudioSession
from hmdrn.studio.uploads import stored_gallery
from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport
from hmdrn_runtime.enrollment.forecast import Forecast, SpeciesForecast
from hmdrn_runtime.errors import GalleryError, HmdrnError
from hmdrn_runtime.gallery.species import Species

e = element
_PAGE = "/gallery"
_ON_CARD = 4
_CHANGES = 30
_DEFAULT_RATE = 0.05


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the addresses of the page."""
    page = GalleryPage(session, notices)
    posts = {
        "/gallery/rename": page.rename,
        "/gallery/forget": page.forget,
        "/gallery/merge": page.merge,
        "/gallery/undo": page.undo,
        "/gallery/rate": page.set_rate,
    }
    return [
        Route(_PAGE, answer(page.show)),
        Route("/thumbnail", answer(page.send_thumbnail)),
        Route("/gallery/rate-cost", answer(page.send_rate_cost)),
        Route("/gallery/download", answer(page.download)),
        *(Route(path, change(handle, _PAGE, notices), methods=["POST"]) for path, handle in posts.items()),
    ]


class GalleryPage:
    """The page and its changes."""

    def __init__(self, session: StudioSession, notices: Notices) -> None:
        self._session, self._notices = session, notices

    def show(self, sent: Sent) -> Response:
        """Show all species."""
        session = self._session
        species = session.gallery.species
        forecast = session.forecast()
        by_label = {} if forecast is None else {entry.label: entry for entry in forecast.species}
        cards = [_render_card(entry, by_label.get(entry.label), forecast) for entry in species.values()]
        photos = sum(entry.shots for entry in species.values())
        empty = e(
            "p", "No species yet. ", e("a", "Enroll the first one", href="/enroll"), " from a few photos."
        )
        return render_page(
            session,
            _PAGE,
            "Gallery",
            e("p", f"{len(species)} species, {photos} photos. ", _describe_forecast(forecast)),
            e("div", *cards, class_="cards") if cards else empty,
            self._render_rate() if cards else None,
            _render_files(bool(cards)),
            self._render_history(),
            notice=self._notices.find(sent),
        )

    def rename(self, sent: Sent) -> Response:
        """Rename a species."""
        label, new = sent.text("label"), sent.text("new")
        is_joined = sent.text("join") == "yes"
        if new.strip() != label and new.strip() in self._session.gallery and not is_joined:
            text = (
                f"There is a species {new.strip()} already: choose another name, or tick that the two join."
            )
            return self._notices.redirect(f"/species?label={quote(label, safe='')}", text, is_error=True)
        count = self._session.rename_species(label, new, is_joined)
        visits = f", and so {'are' if count != 1 else 'is'} {count} visit{'s' * (count != 1)}" * bool(count)
        return self._notices.redirect(_PAGE, f"{label} is {new.strip()} now{visits}.")

    def forget(self, sent: Sent) -> Response:
        """Forget a species, or one photo of it."""
        label, photo = sent.text("label"), sent.text("photo") or None
        self._session.forget(label, photo)
        gone = label not in self._session.gallery
        what = f"{label} is forgotten." if gone else f"A photo of {label} is forgotten."
        path = _PAGE if gone else f"/species?label={quote(label, safe='')}"
        return self._notices.redirect(path, f"{what} Undo it below the gallery.")

    def merge(self, sent: Sent) -> Response:
        """Merge an uploaded gallery."""
        if not sent.uploads:
            raise HmdrnError("no gallery was chosen: choose a .gallery file")
        name = sent.uploads[0].name
        with stored_gallery(sent.uploads[0]) as path:
            try:
                report = self._session.merge(path)
            except GalleryError as error:
                raise GalleryError(str(error).replace(str(path), name)) from error
        more = sum(report.extended.values())
        return self._notices.redirect(
            _PAGE, f"Merged {name}: {len(report.added)} new species, {more} photos more in others."
        )

    def undo(self, sent: Sent) -> Response:
        """Undo the last change."""
        return self._notices.redirect(_PAGE, f"Undone: {self._session.undo()}.")

    def set_rate(self, sent: Sent) -> Response:
        """Set the false-accept rate, or drop it."""
        if sent.text("drop"):
            self._session.set_rate(None)
            return self._notices.redirect(_PAGE, "Every photo gets the name of a species now.")
        rate = _parse_rate(sent.text("rate"))
        self._session.set_rate(rate)
        return self._notices.redirect(_PAGE, f"At most {percent(rate)} of other species should pass now.")

    def send_rate_cost(self, sent: Sent) -> Response:
        """Send what a rate would cost."""
        rate = _parse_rate(sent.query.get("rate", ""))
        return JSONResponse({"rate": percent(rate), "cost": _describe_cost(self._session.preview_rate(rate))})

    def download(self, sent: Sent) -> Response:
        """Send the gallery's file."""
        path = self._session.gallery_path
        if not path.is_file():
            return PlainTextResponse("there is no gallery yet\n", 404)
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    def send_thumbnail(self, sent: Sent) -> Response:
        """Send the picture of an enrolled photo."""
        (species,) = self._session.gallery.select([sent.query.get("label", "")]).values()
        photo = species.photos.get(sent.query.get("photo", ""))
        if photo is None or photo.pixels is None:
            return PlainTextResponse("no such picture\n", 404)
        return Response(photo.thumbnail, media_type="image/jpeg")

    def _render_rate(self) -> Html:
        session = self._session
        heading = e("h2", "Known or unknown", id="rate")
        if session.recognizer.background is None:
            text = "This model has no background species, so every photo gets the name of a species."
            return e("section", heading, e("p", text))
        rate = session.rate
        now = "Not set: every photo gets the name of a species."
        if rate is not None:
            now = f"Set to {percent(rate)}. {_describe_cost(session.preview_rate(rate))}"
        slider = e(
            "input",
            type="range",
            name="rate",
            min=0.01,
            max=0.5,
            step=0.01,
            value=rate or _DEFAULT_RATE,
            data_cost="/gallery/rate-cost",
        )
        drop = button("Name every photo", name="drop", value="yes") if rate is not None else None
        return e(
            "section",
            heading,
            e("p", "How many photos of other species may pass as one of yours? ", now),
            form(
                "/gallery/rate",
                e("label", "False-accept rate, 1 % to 50 %", slider),
                e("output", "Move the slider to see what it costs.", id="rate-cost"),
                button("Set this rate"),
                drop,
            ),
        )

    def _render_history(self) -> Html:
        session = self._session
        what = session.undoable
        undo = form("/gallery/undo", button(f"Undo: {what}")) if what else e("p", "Nothing to undo.")
        changes = [
            e("tr", e("td", c.when.replace("T", " ").rstrip("Z")), e("td", c.what), e("td", c.label or ""))
            for c in reversed(session.gallery.history[-_CHANGES:])
        ]
        history = table("History", ("When (UTC)", "Change", "Species"), changes)
        return e("section", e("h2", "History"), undo, history if changes else None)


def _render_card(species: Species, forecast: SpeciesForecast | None, whole: Forecast | None) -> Html:
    label = species.label
    pictures = [photo for photo in species.list_photos() if photo.thumbnail is not None][:_ON_CARD]
    images = [thumbnail(label, photo.digest, "") for photo in pictures]
    lines: list[Child] = [e("p", f"{species.shots} photo{'s' * (species.shots != 1)}")]
    if forecast is not None:
        lines.append(e("p", f"expected right: {forecast.accuracy}"))
        if forecast.views < 2:
            lines.append(e("p", "one scene only: add other photos", class_="warning"))
    for first, second, share in whole.mixed_up if whole is not None else ():
        if label in (first, second):
            other = second if label == first else first
            lines.append(e("p", f"mixed up with {other}, up to {percent(share)}", class_="warning"))
    heading = e("h2", e("a", label, href=f"/species?label={quote(label, safe='')}"))
    return e("article", heading, e("div", *images, class_="strip"), *lines, class_="card")


def _render_files(has_species: bool) -> Html:
    download = e("a", "Download this gallery", href="/gallery/download", download=True, class_="button")
    return e(
        "section",
        e("h2", "Merge and export"),
        e("p", download) if has_species else None,
        form(
            "/gallery/merge",
            e("label", "Gallery of another device", e("input", type="file", name="gallery", required=True)),
            button("Merge it in"),
            uploads=True,
        ),
    )


def _describe_forecast(forecast: Forecast | None) -> Html:
    if forecast is None:
        return join("With two species or more, this says how well it will do on new photos.")
    known = f", {forecast.known} count as known" if forecast.known is not None else ""
    return join(f"Expected on new photos like these: {forecast.accuracy} get the right name{known}.")


def _describe_cost(cost: AcceptanceReport) -> str:
    known, judged = sum(cost.known.values()), sum(cost.judged.values())
    if not judged:
        return "Its cost is unknown: no species has two photos to compare."
    rejected = ", ".join(cost.rejected_species)
    lost = f" None of {rejected}: enroll more photos, or choose a higher rate." if rejected else ""
    return f"Of your own photos {known} of {judged} would count as known.{lost}"


def _parse_rate(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise HmdrnError(f"the rate is {text[:40]!r}: give a number from 0.01 to 0.5") from error
