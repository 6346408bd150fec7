"""Photos that visitors had named, for as long as they may ask why."""

from __future__ import annotations

import io
import secrets
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from hmdrn_runtime.classification.prediction import Prediction
from hmdrn_runtime.errors import HmdrnError, ImageError
from hmdrn_runtime.images.decoding import load_image
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.recognizer import Recognizer

MAX_PHOTOS = 20
_MAX_BYTES = 100 * 10**6
"""Bytes of all photos that are kept."""
_SHOWN_SIDE = 1024


@dataclass(frozen=True)
class ClassifiedPhoto:
    """A photo with its name.

    Attributes:
        key: Random text that finds it.
        name: Its file's name.
        data: Its file.
        prediction: Its name, by the gallery of that moment.
        digest: Digest of the enrolled photo that it is the thumbnail of; empty if it is none.
        visit: Number of the visit that it is a picture of; None if it is none.
    """

    key: str
    name: str
    data: bytes = field(repr=False)
    prediction: Prediction
    digest: str = ""
    visit: int | None = None


class ClassifiedPhotos:
    """The last photos that were named."""

    def __init__(self) -> None:
        self._photos: OrderedDict[str, ClassifiedPhoto] = OrderedDict()
        self._lock = threading.Lock()

    def classify(
        self, recognizer: Recognizer, data: bytes, name: str, digest: str = "", visit: int | None = None
    ) -> ClassifiedPhoto:
        """Name a photo, and keep it; `digest` and `visit` are those of `ClassifiedPhoto`.

        Raises:
            ImageError: It cannot be read.
            GalleryError: Nothing has been enrolled.
        """
        try:
            prediction = recognizer.classify(data)
        except ImageError as error:
            raise ImageError(str(error).replace(describe_source(data), name, 1)) from error
        photo = ClassifiedPhoto(secrets.token_urlsafe(12), name, data, prediction, digest, visit)
        with self._lock:
            self._photos[photo.key] = photo
            while len(self._photos) > 1 and (
                len(self._photos) > MAX_PHOTOS or sum(len(p.data) for p in self._photos.values()) > _MAX_BYTES
            ):
                self._photos.popitem(last=False)
        return photo

    def find(self, key: str) -> ClassifiedPhoto:
        """Return a photo.

        Raises:
            HmdrnError: It is not kept any more.
        """
        with self._lock:
            photo = self._photos.get(key)
        if photo is None:
            raise HmdrnError("this photo is not kept any more: name it again")
        return photo


def draw_shown(photo: ClassifiedPhoto) -> bytes:
    """Return a photo as it is shown, a JPEG without its metadata."""
    image = load_image(photo.data)
    image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


def draw_why(recognizer: Recognizer, photo: ClassifiedPhoto, against: str | None) -> bytes:
    """Return the explanation of a photo's name as PNG; it needs matplotlib.

    Raises:
        HmdrnError: No such species to compare with, or nothing is enrolled.
    """
    from hmdrn.plotting.explanation import draw_explanation

    explanation = recognizer.explain(photo.data, against=against)
    with tempfile.TemporaryDirectory(prefix="hmdrn-studio-") as folder:
        path = Path(folder) / "why.png"
        draw_explanation(explanation, load_image(photo.data), recognizer.preprocessing, None, path)
        return path.read_bytes()
