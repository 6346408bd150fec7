"""The bursts that a camera's photos were taken in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hmdrn.visits.card import CardPhoto
from hmdrn.visits.card_decoding import DecodedPhoto

MAX_BURST_SECONDS = 600.0
"""Longest visit: a camera that takes a photo every few seconds all day does not make one of the day."""


def split_bursts(photos: Iterable[DecodedPhoto], gap: float) -> Iterator[list[DecodedPhoto]]:
    """Yield the bursts of photos that are sorted by time; photos without EXIF are by themselves.

    Args:
        photos: The photos.
        gap: Most seconds between two photos of one burst.
    """
    burst: list[DecodedPhoto] = []
    for decoded in photos:
        if burst and not _belongs(decoded.photo, burst[0].photo, burst[-1].photo, gap):
            yield burst
            burst = []
        burst.append(decoded)
    if burst:
        yield burst


def _belongs(photo: CardPhoto, first: CardPhoto, last: CardPhoto, gap: float) -> bool:
    seconds = (photo.time - last.time).total_seconds()
    length = (photo.time - first.time).total_seconds()
    # The times of files are of their copying, at which all were "taken" at once.
    return photo.has_exif_time and last.has_exif_time and seconds <= gap and length <= MAX_BURST_SECONDS
