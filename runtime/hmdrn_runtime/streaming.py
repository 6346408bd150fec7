"""Choosing what to enroll from a live camera: the few frames that add most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hmdrn_runtime.enrollment import leave_one_out, without_each
from hmdrn_runtime.labels import clean_label
from hmdrn_runtime.quality import PhotoSource, Sight, measure, same, sighted
from hmdrn_runtime.species import with_photos
from hmdrn_runtime.statistics import PhotoStatistics

if TYPE_CHECKING:
    from hmdrn_runtime.recognizer import Recognizer


def choose_frames(
    recognizer: Recognizer, label: str, frames: Iterable[PhotoSource], shots: int, patience: int
) -> list[Sight]:
    """Keep the frames whose pose or light the ones kept before do not explain.

    A frame that is blurred, badly lit or a repetition is passed over. One that the frames kept so far
    explain worse than they explain each other (leave-one-out) adds something, and is kept. It ends with
    `shots` frames, or after `patience` fit frames in a row that add nothing: the class is then good enough.

    Args:
        recognizer: Whose species `label` is to be extended; its gallery is left as it is.
        label: The species.
        frames: Read one by one, and no further than needed.
        shots: Frames to keep at most, at least 1.
        patience: Fit frames in a row that add nothing, at least 1.

    Returns:
        The frames, in the order in which they came; empty if none was fit.

    Raises:
        ImageError: A frame cannot be used.
        EnrollmentError: A bad label, or frames that cannot be solved.
    """
    label = clean_label(label)
    mode = recognizer.bundle.manifest.input.preprocessing
    kept: list[Sight] = []
    photos: list[PhotoStatistics] = []
    idle = 0
    for number, frame in enumerate(frames, 1):
        one = sighted(frame, mode, f"frame {number}")
        if measure(one).doubts or any(same(one.pixels, other.pixels) for other in kept):
            continue
        (statistics,) = recognizer.photo_statistics(one.pixels[None])
        if _adds(recognizer, label, photos, kept, statistics, one):
            kept.append(one)
            photos.append(statistics)
            idle = 0
        else:
            idle += 1
        if len(kept) >= shots or idle >= patience:
            break
    return kept


def _adds(
    recognizer: Recognizer,
    label: str,
    photos: list[PhotoStatistics],
    kept: list[Sight],
    statistics: PhotoStatistics,
    one: Sight,
) -> bool:
    """Whether the frames kept so far explain one worse than they explain each other."""
    if len(photos) < 2:
        return True
    species = with_photos(None, label, photos)
    pixels = {p.digest: sight.pixels for p, sight in zip([*photos, statistics], [*kept, one], strict=True)}
    among = leave_one_out(recognizer.matcher, species, pixels)
    # By as many photos as each of them is explained by, or every frame would look familiar.
    logits = recognizer.matcher.compare([statistics], pixels, without_each(species))
    return float(logits.mean()) < sum(among.values()) / len(among)
