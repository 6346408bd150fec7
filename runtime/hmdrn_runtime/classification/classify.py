"""Classification of prepared photos by the species of a gallery."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hmdrn_runtime.arguments import check_count
from hmdrn_runtime.classification.prediction import Prediction, rank_species
from hmdrn_runtime.matching.base import BATCH
from hmdrn_runtime.matching.solved_gallery import SolvedGallery


def classify_pixels(solved: SolvedGallery, pixels: npt.NDArray[np.uint8], top: int) -> list[Prediction]:
    """Recognize the species on network inputs, uint8 (N, side, side, 3), all by one snapshot of the gallery.

    Raises:
        HmdrnError: `top` is not a whole number of at least 1.
        GalleryError: Nothing has been enrolled.
    """
    top = check_count(top, "top", "ask for at least 1 species, a whole number")
    snapshot = solved.current()
    answers: list[Prediction] = []
    for start in range(0, len(pixels), BATCH):
        scores = solved.matcher.classify(pixels[start : start + BATCH], snapshot.operands, top)
        answers += rank_species(snapshot.labels, scores, top, snapshot.calibration)
    return answers
