"""Stages of watching a film, one after the other, each ended by a call that the counter notices.

    python stages.py FILM GALLERY

This runs on the emulated core, where hmdrn is installed and the benchmarks are not. It prints as JSON the
variant of the graphs that was taken, and the name of the stage that each call ended.
"""

from __future__ import annotations

import json
import os
import sys

import cv2
import numpy as np

import hmdrn
from hmdrn_runtime.images.quality import prepare_photo

NAME_EVERY = 5
"""Of so many frames with a subject, one is named."""


def main() -> None:
    """Run the stages of each frame of a film."""
    film, gallery = sys.argv[1:]
    cv2.setNumThreads(1)
    capture, detector = cv2.VideoCapture(film), hmdrn.MotionDetector()
    birds = hmdrn.load("default", gallery, threads=1)
    stages: list[str] = []

    def end(stage: str) -> None:
        os.getppid()
        stages.append(stage)

    rate, index, seen = capture.get(cv2.CAP_PROP_FPS), 0, 0
    while True:
        end("other")
        is_read, pixels = capture.read()
        if not is_read:
            break
        end("decode")
        moment = index / rate
        frame = hmdrn.Frame(index, moment, moment, moment, np.asarray(pixels, np.uint8))
        boxes = detector(frame)
        end("motion")
        index, seen = index + 1, seen + bool(boxes)
        if boxes and seen % NAME_EVERY == 0:
            crop = frame.crop(boxes[0])
            end("crop")
            photo = prepare_photo(crop, birds.preprocessing)
            end("prepare")
            birds.classify_batch([photo])
            end("name")
    print(json.dumps({"variant": birds.bundle.variant, "frames": index, "stages": stages}))


if __name__ == "__main__":
    main()
