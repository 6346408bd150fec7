"""The best pictures of a visit: the sharpest, the largest, the most typical."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import PIL.Image

from hmdrn.visits.visit import VisitPicture
from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.images.preprocessing import Box
from hmdrn_runtime.images.quality import MEASURED_SIDE, PreparedPhoto, measure_quality

MAX_SIDE = 640
"""Pixels of the longer side of a stored picture."""
JPEG_QUALITY = 88
EVERY_SECONDS = 0.25
"""Seconds between two frames that are looked at: neighboring frames are alike."""
_MIN_GAIN = 1.05
"""Factor by which a picture must be better than one that is kept: encoding takes time."""
_MAX_LABELS = 4
"""Predicted species of which pictures are kept until the visit has its name."""
_BAD = 0.01
"""Weight of a picture that is dark, blown out, blurred or tiny: kept only without a better one."""


@dataclass(frozen=True)
class _Candidate:
    value: float
    picture: VisitPicture


class PictureChooser:
    """Keeps the best pictures of one visit while it lasts, as JPEG.

    Those of each predicted species are kept apart: around a change of subject, a visit has frames of both.

    Args:
        every: Seconds between two frames that are looked at.
    """

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self._last: float | None = None
        self._best: dict[str, dict[str, _Candidate]] = {}

    def offer(
        self,
        read: Callable[[], PIL.Image.Image],
        box: Box | None,
        prediction: Prediction,
        position: float,
        time: datetime,
    ) -> None:
        """Look at a frame.

        Args:
            read: Returns the picture of the subject, in RGB; called if the frame is looked at.
            box: The subject's place; None for the whole frame.
            prediction: The prediction for the frame.
            position: Seconds, on any clock that does not run backwards.
            time: Time of capture (UTC).
        """
        label = prediction.label
        if self._last is not None and position - self._last < self._every:
            return
        if label not in self._best and len(self._best) == _MAX_LABELS:
            return
        self._last = position
        image = read()
        quality = measure_quality(_shrink(image))
        weight = _BAD if quality.issues else 1.0
        area = 0.0 if box is None else (box[2] - box[0]) * (box[3] - box[1])
        values = {"sharpest": weight * quality.sharpness, "largest": weight * area}
        values["typical"] = weight * prediction.probability
        best = self._best.setdefault(label, {})
        better = [
            reason
            for reason, value in values.items()
            if (reason not in best or value > _MIN_GAIN * best[reason].value)
            and (reason != "largest" or box is not None)
        ]
        if better:
            picture = _encode(image, box, time)
            best.update((reason, _Candidate(values[reason], picture)) for reason in better)

    def choose(self, label: str | None) -> tuple[VisitPicture, ...]:
        """Return at most three pictures, each once with all its reasons.

        Args:
            label: The visit's species, of which the pictures are if there are any; None if it is unknown.
        """
        groups = [self._best[label]] if label in self._best else list(self._best.values())
        pictures: list[VisitPicture] = []
        for reason in ("sharpest", "largest", "typical"):
            candidates = [group[reason] for group in groups if reason in group]
            if not candidates:
                continue
            best = max(candidates, key=lambda candidate: candidate.value).picture
            for i, picture in enumerate(pictures):
                if picture.jpeg is best.jpeg:
                    pictures[i] = replace(picture, reasons=(*picture.reasons, reason))
                    break
            else:
                pictures.append(replace(best, reasons=(reason,)))
        return tuple(pictures)


def _shrink(image: PIL.Image.Image) -> PreparedPhoto:
    small = image.resize((MEASURED_SIDE, MEASURED_SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)
    return PreparedPhoto(np.asarray(small), min(image.size))


def _encode(image: PIL.Image.Image, box: Box | None, time: datetime) -> VisitPicture:
    size = image.size
    if max(size) > MAX_SIDE:
        image = image.copy()
        image.thumbnail((MAX_SIDE, MAX_SIDE), PIL.Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return VisitPicture((), time, image.width, image.height, box, file.getvalue())
