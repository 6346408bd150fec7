"""A robot's loop: a detector finds subjects, hmdrn classifies them, and the robot never waits.

Needs: `pip install .` in a checkout; nothing else. Run: `python examples/robot_loop.py`

It draws a scene of butterflies that drift over a dark table, so it runs anywhere. For your robot, replace
`camera` and `detect`, and keep `classify_each_frame` or `classify_when_ready`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

Frame: TypeAlias = npt.NDArray[np.uint8]
"""RGB (H, W, 3). OpenCV's frames are BGR: pass `frame[..., ::-1]`."""
Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""
Act: TypeAlias = Callable[[Sequence[Box], Sequence[hmdrn.Prediction]], None]
"""The robot's action for the boxes of a frame and their predictions."""

SPECIES = (3, 77, 12)
SHOTS = 5
SIZE = 128
GRID = 8
"""Pixels of the detector's cells; boxes are at least one cell wide."""


def detect(frame: Frame, threshold: int = 40) -> list[Box]:
    """Return boxes around areas brighter than the table. Put your detector here.

    hmdrn rejects boxes with a side under 8 pixels: leave out smaller ones.
    """
    height, width = (side // GRID for side in frame.shape[:2])
    cells = frame[: height * GRID, : width * GRID].reshape(height, GRID, width, GRID, 3)
    bright = {(int(y), int(x)) for y, x in np.argwhere(cells.mean((1, 3, 4)) > threshold)}
    boxes = []
    while bright:
        blob, front = [], [bright.pop()]
        while front:  # cells that touch belong together
            y, x = front.pop()
            blob.append((y, x))
            near = {(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & bright
            bright -= near
            front += near
        ys, xs = zip(*blob, strict=True)
        boxes.append((min(xs) * GRID, min(ys) * GRID, (max(xs) + 1) * GRID, (max(ys) + 1) * GRID))
    return sorted(box for box in boxes if min(box[2] - box[0], box[3] - box[1]) >= SIZE // 2)


def camera(frames: int, fps: float = 0, seed: int = 0) -> Iterator[Frame]:
    """Yield frames, 640x480, of specimens that drift over a dark table. Put your camera here."""
    specimens = draw_specimens(SPECIES, 1, first=SHOTS, size=SIZE)[:, 0]
    noise = np.random.default_rng(seed)
    for number in range(frames):
        frame = noise.integers(0, 20, (480, 640, 3), dtype=np.uint8)
        for index, image in enumerate(specimens):
            x, y = 40 + 200 * index, 40 + 60 * index + 2 * (number % 60)
            frame[y : y + SIZE, x : x + SIZE] = image
        yield frame
        if fps:
            time.sleep(1 / fps)


def classify_each_frame(recognizer: hmdrn.Recognizer, frames: Iterable[Frame], act: Act) -> None:
    """Classify every frame before the next one is read: the simple loop."""
    for frame in frames:
        boxes = detect(frame)
        try:
            act(boxes, recognizer.classify(frame, boxes=boxes))  # no boxes, no predictions
        except hmdrn.ImageError as error:  # a box that cannot be used; continue with the next frame
            print(f"frame skipped: {error}", file=sys.stderr)


@dataclass
class Tally:
    """Counts of the frames."""

    frames: int = 0
    classified: int = 0
    dropped: int = 0
    failed: int = 0


def classify_when_ready(recognizer: hmdrn.Recognizer, frames: Iterable[Frame], act: Act) -> Tally:
    """Submit frames without waiting, and act on predictions when they are ready.

    At most one frame is being classified and two wait; a further frame replaces the oldest, so that the
    robot never acts on a result older than a few frames.
    """
    tally = Tally()
    waiting: deque[tuple[list[Box], Future[list[hmdrn.Prediction]]]] = deque()

    def take() -> None:
        boxes, future = waiting.popleft()
        try:
            predictions = future.result()
        except hmdrn.FrameDroppedError:
            tally.dropped += 1
        except hmdrn.ImageError as error:
            tally.failed += 1
            print(f"frame skipped: {error}", file=sys.stderr)
        else:
            tally.classified += 1
            act(boxes, predictions)

    for frame in frames:
        boxes = detect(frame)
        waiting.append((boxes, recognizer.classify_async(frame, boxes=boxes)))
        tally.frames += 1
        while waiting and waiting[0][1].done():
            take()
        # Here the robot steers; nothing above has blocked it.
    while waiting:
        take()
    return tally


def report(boxes: Sequence[Box], predictions: Sequence[hmdrn.Prediction]) -> None:
    """Print the predictions. Put your robot's action here."""
    for box, prediction in zip(boxes, predictions, strict=True):
        # `known` is None unless the gallery was calibrated (`hmdrn enroll ... --far 0.05`).
        label = "unknown" if prediction.known is False else prediction.label
        print(f"{label} ({100 * prediction.probability:.0f} %) at {box}")


def main() -> int:
    """Enroll three species, then classify them in a moving scene, by both loops."""
    parser = argparse.ArgumentParser(description="Classify a detector's boxes, frame by frame.")
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--fps", type=float, default=30, help="0: as fast as they come")
    arguments = parser.parse_args()
    try:
        recognizer = hmdrn.load(arguments.bundle)
        # A robot would have a gallery: hmdrn.load(bundle, gallery="site7.gallery").
        for species, images in zip(SPECIES, draw_specimens(SPECIES, SHOTS, size=SIZE), strict=True):
            recognizer.enroll(name_species(species), images)
        print("one frame, waiting for it:")
        classify_each_frame(recognizer, camera(1), report)
        print(f"{arguments.frames} frames, without waiting:")
        tally = classify_when_ready(recognizer, camera(arguments.frames, arguments.fps), lambda *_: None)
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{tally.classified} classified, {tally.dropped} dropped for newer ones, {tally.failed} failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
