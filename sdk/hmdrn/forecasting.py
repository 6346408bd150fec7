"""Forecast of a recognizer's results on new photos."""

from __future__ import annotations

from hmdrn_runtime.arguments import check_kind
from hmdrn_runtime.enrollment.forecast import Forecast, forecast_gallery
from hmdrn_runtime.errors import GalleryError
from hmdrn_runtime.open_set.threshold import active_calibration
from hmdrn_runtime.recognizer import Recognizer


def forecast(recognizer: Recognizer) -> Forecast | None:
    """Forecast how well a recognizer's gallery does on new photos like those enrolled.

    Args:
        recognizer: Recognizer with the species enrolled.

    Returns:
        The forecast; None if the gallery has not two species with statistics of photos (a compacted species
        has none), or the head is attention.

    Raises:
        GalleryError: The gallery's calibration is damaged.

    Examples:
        >>> birds = hmdrn.load("default", gallery="site7.gallery")
        >>> hmdrn.forecast(birds).accuracy.share > 0.5
        True
    """
    check_kind(recognizer, Recognizer, "recognizer", "pass what hmdrn.load returns", GalleryError)
    calibration = active_calibration(recognizer.gallery.calibration, recognizer.background)
    threshold = None if calibration is None else calibration.threshold
    return forecast_gallery(recognizer.matcher, recognizer.gallery.species, recognizer.background, threshold)
