"""Clips of visits: on the page, and in the parts that players ask for."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from hmdrn.studio.html import Html, element
from hmdrn.studio.requests import Sent, answer
from hmdrn.studio.session import StudioSession
from hmdrn.visits.visit import Visit

e = element
_ADDRESS = "/visits/clip"
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def list_routes(session: StudioSession) -> list[Route]:
    """Return the address of the clips."""

    def send(sent: Sent) -> Response:
        text = sent.query.get("visit", "")
        number = int(text) if text.isdecimal() and len(text) < 16 else 0
        return send_part(session.diary.read_clip(number), sent.range)

    return [Route(_ADDRESS, answer(send))]


def render_clip(visit: Visit) -> Html | None:
    """Return a visit's clip, folded; None without one."""
    if visit.clip is None:
        return None
    what = f"Clip of visit {visit.id}: {visit.naming.text}"
    player = e(
        "video",
        src=f"{_ADDRESS}?{urlencode({'visit': visit.id})}",
        controls=True,
        muted=True,
        playsinline=True,
        preload="none",
        width=visit.clip.width,
        height=visit.clip.height,
        aria_label=what,
    )
    return e("details", e("summary", f"Clip, {visit.clip.duration:.0f} s"), player, class_="clip")


def send_part(data: bytes, wanted: str) -> Response:
    """Return WebM, or the part of it that a header `Range` asks for (RFC 9110, section 14), of one range."""
    headers = {"accept-ranges": "bytes"}
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match.groups() == ("", ""):
        return Response(data, headers=headers, media_type="video/webm")
    first, last = match.groups()
    size = len(data)
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return Response(data[start:end], 206, headers=headers, media_type="video/webm")
