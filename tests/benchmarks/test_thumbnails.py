"""The comparison of thumbnails with photos, on drawn specimens."""

from __future__ import annotations

import numpy as np

import hmdrn
from benchmarks.thumbnails import measure
from hmdrn_runtime.specimens.drawing import draw_specimens


def test_equal_photos_give_no_difference_and_swapped_species_a_large_one():
    recognizer = hmdrn.load("default", threads=1)
    side = recognizer.preprocessing.side
    photos = [
        recognizer.matcher.compute_statistics(np.stack(images))
        for images in draw_specimens(range(5), 6, size=side)
    ]
    same = measure(recognizer, [list(zip(members, members, strict=True)) for members in photos], 2, 0)
    assert same["photos"] == same["thumbnails"] > 60
    assert (same["difference"], same["difference_ci95"]) == (0.0, 0.0)
    others = [*photos[1:], photos[0]]
    pairs = [list(zip(*members, strict=True)) for members in zip(photos, others, strict=True)]
    assert measure(recognizer, pairs, 2, 0)["difference"] < -30
