"""Visits for tests."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
from PIL import Image

from hmdrn.visits.visit import Naming, Visit, VisitClip, VisitPicture

MORNING = datetime(2026, 5, 1, 8, 30, tzinfo=timezone.utc)


def encode_jpeg(seed: int = 0, side: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def make_visit(hours: float = 0.0, label: str | None = "Jay", pictures: int = 2, **values) -> Visit:
    """A visit some hours after `MORNING`; without a label it is unknown."""
    naming = Naming(label, label is not None, 0.9 if label else None, None, label or "Jay", "f00d", 3)
    start = MORNING + timedelta(hours=hours)
    taken = tuple(
        VisitPicture((reason,), start, 64, 64, (1.0, 2.0, 65.0, 66.0), encode_jpeg(n))
        for n, reason in zip(range(pictures), ("sharpest", "largest", "typical"), strict=False)
    )
    defaults = {"duration": 4.0, "source": "camera 0", "naming": naming, "pictures": taken}
    return Visit(start, **{**defaults, **values})


def show_specimens(pixels, hours: float = 0.0, label: str | None = None, **values) -> Visit:
    """A visit whose pictures are drawn specimens, uint8 (N, side, side, 3)."""
    pictures = []
    for number, picture in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=95)
        time = MORNING + timedelta(hours=hours, seconds=number)
        pictures.append(VisitPicture(("typical",), time, len(picture), len(picture), None, file.getvalue()))
    return replace(make_visit(hours, label, **values), pictures=tuple(pictures))


def make_clip(size: int = 1000, **values) -> VisitClip:
    """A clip of so many bytes, which no player plays."""
    return VisitClip(
        **{"start": MORNING, "duration": 9.5, "width": 64, "height": 36, "webm": bytes(size), **values}
    )
