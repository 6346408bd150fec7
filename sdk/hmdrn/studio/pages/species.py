"""One species with its photos: their evidence, and the changes to them."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import button, form, hidden, render_page, thumbnail
from hmdrn.studio.requests import Notices, Sent, answer
from hmdrn.studio.session import StudioSession
from hmdrn_runtime.enrollment.evidence import PROBABLY_WRONG, compare_species
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics

e = element
_PAGE = "/gallery"
_COMPARED = 200
"""Photos of a species that are compared, at most: beyond it the page would take seconds."""


def list_routes(session: StudioSession, notices: Notices) -> list[Route]:
    """Return the address of the page."""

    def show(sent: Sent) -> Response:
        (species,) = session.gallery.select([sent.query.get("label", "")]).values()
        label, photos = species.label, species.list_photos()
        evidence = measure_evidence(session, label) if len(photos) <= _COMPARED else {}
        tiles = [_render_photo(label, photo, evidence.get(photo.digest)) for photo in photos]
        summed = sum(len(part.digests) for part in species.sums)
        renaming = form(
            "/gallery/rename",
            hidden("label", label),
            e("label", "New name", e("input", name="new", value=label, required=True, maxlength=120)),
            e(
                "label",
                e("input", type="checkbox", name="join", value="yes"),
                " Join with a species of that name",
                class_="check",
            ),
            button("Rename"),
        )
        forgetting = form(
            "/gallery/forget", hidden("label", label), button(f"Forget {label}", class_="danger")
        )
        count = "1 photo" if species.shots == 1 else f"{species.shots} photos"
        return render_page(
            session,
            _PAGE,
            label,
            e("p", f"{count}. ", e("a", "All species", href=_PAGE)),
            e("p", f"{summed} photos are one sum, and cannot be shown one by one.") if summed else None,
            e("p", _EVIDENCE) if evidence else None,
            e("ul", *tiles, class_="photos"),
            e("section", e("h2", "Change it"), renaming, forgetting, class_="forms"),
            notice=notices.find(sent),
        )

    return [Route("/species", answer(show))]


_EVIDENCE = (
    "Evidence compares each photo with the others of this species and with all other species: "
    "below 0 it looks more like another one."
)


def measure_evidence(session: StudioSession, label: str) -> dict[str, tuple[float, str]]:
    """Return the evidence of a species' photos by digest, and the gallery's answer for each of them.

    Empty with a single species, or if all photos show one scene.
    """
    species = session.gallery.species
    pixels = {p.digest: array for p in species[label].photos.values() if (array := p.pixels) is not None}
    result = compare_species(session.recognizer.matcher, species, label, pixels)
    pairs = zip(result.values.tolist(), result.answers, strict=True)
    return dict(zip(result.digests, pairs, strict=True))


def _render_photo(label: str, photo: PhotoStatistics, evidence: tuple[float, str] | None) -> Html:
    record = photo.record
    name = record.name or photo.digest[:12]
    image = thumbnail(label, photo.digest, name) if photo.thumbnail is not None else None
    taken = f"taken {record.taken.replace('T', ' ')}" if record.taken else None
    kind, text = None, None
    if evidence is not None:
        value, answer_ = evidence
        kind = "good" if value >= 0 else "unsure" if value >= PROBABLY_WRONG else "doubtful"
        text = f"evidence {value:+.1f}" + (f", more like {answer_}" if value < 0 else "")
    address = f"/why?{urlencode({'label': label, 'photo': photo.digest})}"
    why = e("a", "Why?", href=address, class_="button", aria_label=f"Why {label}, photo {name}?")
    return e(
        "li",
        image or e("p", "no picture kept", class_="blank"),
        e("p", name, class_="name"),
        e("p", text) if text else None,
        e("p", record.verdict) if record.verdict else None,
        e("p", taken) if taken else None,
        e(
            "div",
            form(
                "/gallery/forget",
                hidden("label", label),
                hidden("photo", photo.digest),
                button("Forget", f"Forget photo {name}"),
            ),
            why if photo.thumbnail is not None else None,
            class_="row",
        ),
        class_=kind,
    )
