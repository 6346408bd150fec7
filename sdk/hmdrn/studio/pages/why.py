"""The reasons for a name: where a photo fits, and the enrolled photos that weigh most."""

from __future__ import annotations

import importlib.util
import math
from urllib.parse import quote

from hmdrn.studio.classified import ClassifiedPhoto
from hmdrn.studio.html import Html, element
from hmdrn.studio.layout import hidden, table, thumbnail
from hmdrn.studio.session import StudioSession
from hmdrn.studio.support import PhotoWeight, weigh_photos
from hmdrn_runtime.errors import ImageError
from hmdrn_runtime.images.query_preprocessing import prepare_query

e = element
_SHOWN = 4


def can_draw() -> bool:
    """Return whether maps can be drawn; they need matplotlib."""
    return importlib.util.find_spec("matplotlib") is not None


def render_why(session: StudioSession, photo: ClassifiedPhoto, against: str) -> Html:
    """Return the reasons for a photo's name: its rivals, the photos that weigh most, and the map."""
    is_unknown = photo.prediction.known is False
    return e(
        "section",
        e("h2", f"Why {'most like ' * is_unknown}{photo.prediction.label}?", id="why"),
        _render_support(session, photo),
        _render_map(session, photo, against),
        class_="why",
    )


def render_distances(photo: ClassifiedPhoto) -> Html:
    """Return the distances by level, for those who want the figures."""
    levels = list(photo.prediction.ranking[0].distances)
    rows = [
        e(
            "tr",
            e("th", match.label, scope="row"),
            *(e("td", f"{match.distances[level]:.2f}") for level in levels),
        )
        for match in photo.prediction.ranking
    ]
    heads = ("Species", *(f"{level.capitalize()} level" for level in levels))
    return e("details", e("summary", "Distances"), table("Distances by level", heads, rows))


def _render_support(session: StudioSession, photo: ClassifiedPhoto) -> Html:
    label = photo.prediction.label
    species = session.gallery.species.get(label)
    if species is None:
        return e("p", f"{label} is not enrolled any more.")
    try:
        pixels = prepare_query(photo.data, session.recognizer.preprocessing)
    except ImageError as error:
        return e("p", str(error))
    weights = weigh_photos(session.recognizer, pixels, species, photo.digest)
    if not weights:
        return e("p", f"All rests on one photo of {label}: enroll others, and this shows which weigh most.")
    shown = [weight for weight in weights if weight.log_odds > 0][:_SHOWN] or weights[:1]
    tiles = [_render_weight(label, weight) for weight in shown]
    heading = e("h3", f"The photos of {label} that weigh most")
    note = e("p", "Each is left out in turn: the odds say how much surer the name is with it.")
    return e("div", heading, note, e("ul", *tiles, class_="photos"))


def _render_weight(label: str, weight: PhotoWeight) -> Html:
    photo = weight.photo
    name = photo.record.name or photo.digest[:12]
    image = thumbnail(label, photo.digest, name) if photo.thumbnail is not None else None
    return e(
        "li",
        image or e("p", "no picture kept", class_="blank"),
        e("p", name, class_="name"),
        e("p", _describe_weight(weight.log_odds)),
        e("p", "This is the photo itself.") if weight.is_same else None,
        class_="good" if weight.log_odds > 0 else "unsure",
    )


def _describe_weight(log_odds: float) -> str:
    if abs(log_odds) < math.log(1.05):
        return "makes no difference"
    ratio = math.exp(min(abs(log_odds), 700.0))
    times = f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}" if ratio < 1000 else "over 1000"
    return f"odds {times} times {'higher' if log_odds > 0 else 'lower'}"


def _render_map(session: StudioSession, photo: ClassifiedPhoto, against: str) -> Html | None:
    ranking, label = photo.prediction.ranking, photo.prediction.label
    if not can_draw():
        return e("p", "Maps of where it fits need the extra `plots`: pip install 'hmdrn[plots]'.")
    others = [other for other in session.gallery.species if other != label]
    chosen = against or (ranking[1].label if len(ranking) > 1 else "")
    choices = [e("option", other, value=other, selected=other == chosen) for other in others]
    choose = e(
        "form",
        hidden("photo", photo.key),
        e("label", "Compare with", e("select", *choices, name="against")),
        e("button", "Compare"),
        action="/classify#why",
    )
    rival = f", and {chosen} does not" if chosen else ""
    return e(
        "div",
        e("h3", f"Where {label} fits{rival}"),
        choose if len(others) > 1 else None,
        e(
            "a",
            e(
                "img",
                src=f"/classify/why?photo={quote(photo.key)}&against={quote(against, safe='')}",
                alt=f"Map of where {label} fits this photo{rival}",
                loading="lazy",
                class_="picture",
            ),
            href=f"/classify/why?photo={quote(photo.key)}&against={quote(against, safe='')}",
        ),
    )
