"""A robot's loop: a detector finds things, hmdrn names them, and the robot never waits for an answer.

Needs: `pip install .` in a checkout; nothing else. Run: `python examples/robot_loop.py`

It draws its own scene, butterflies that drift over a dark table, so it runs anywhere. For a robot of yours,
replace `camera` and `detect`; `name_each_frame` or `name_when_ready`, whichever suits it, stays as it is.
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
from hmdrn_runtime.specimens.traits import species_name

Frame: TypeAlias = npt.NDArray[np.uint8]
"""RGB (H, W, 3). OpenCV's frames are BGR: pass `frame[..., ::-1]`."""
Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""
Act: TypeAlias = Callable[[Sequence[Box], Sequence[hmdrn.Prediction]], None]
"""What the robot does with the boxes of a frame and their names."""

SPECIES = (3, 77, 12)
SHOTS = 5
SIZE = 128
GRID = 8
"""Pixels of the detector's cells; boxes are at least one cell wide."""


def detect(frame: Frame, threshold: int = 40) -> list[Box]:
    """Boxes around what is brighter than the table. Put your detector here.

    hmdrn refuses boxes of fewer than 8 pixels a side: leave out smaller ones.
    """
    height, width = (side // GRID for side in frame.shape[:2])
    cells = frame[: height * GRID, : width * GRID].reshape(height, GRID, width, GRID, 3)
    left = {(int(y), int(x)) for y, x in np.argwhere(cells.mean((1, 3, 4)) > threshold)}
    boxes = []
    while left:
        found, front = [], [left.pop()]
        while front:  # cells that touch belong together
            y, x = front.pop()
            found.append((y, x))
            near = {(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            front += near
        ys, xs = zip(*found, strict=True)
        boxes.append((min(xs) * GRID, min(ys) * GRID, (max(xs) + 1) * GRID, (max(ys) + 1) * GRID))
    return sorted(box for box in boxes if min(box[2] - box[0], box[3] - box[1]) >= SIZE // 2)


def camera(frames: int, fps: float = 0, seed: int = 0) -> Iterator[Frame]:
    """Frames 640x480 of specimens that drift over a dark table. Put your camera here."""
    specimens = draw_specimens(SPECIES, 1, first=SHOTS, size=SIZE)[:, 0]
    noise = np.random.default_rng(seed)
    for number in range(frames):
        frame = noise.integers(0, 20, (480, 640, 3), dtype=np.uint8)
        for place, image in enumerate(specimens):
            x, y = 40 + 200 * place, 40 + 60 * place + 2 * (number % 60)
            frame[y : y + SIZE, x : x + SIZE] = image
        yield frame
        if fps:
            time.sleep(1 / fps)


def name_each_frame(recognizer: hmdrn.Recognizer, frames: Iterable[Frame], act: Act) -> None:
    """The simple loop: every frame is named before the next one is taken."""
    for frame in frames:
        boxes = detect(frame)
        try:
            act(boxes, recognizer.classify(frame, boxes=boxes))  # no boxes, no predictions
        except hmdrn.ImageError as error:  # a box that cannot be looked at; the next frame may do
            print(f"frame passed over: {error}", file=sys.stderr)


@dataclass
class Tally:
    """What became of the frames."""

    frames: int = 0
    answered: int = 0
    dropped: int = 0
    failed: int = 0


def name_when_ready(recognizer: hmdrn.Recognizer, frames: Iterable[Frame], act: Act) -> Tally:
    """The loop that never waits: frames go in, answers come out when ready, late ones are dropped.

    One frame is in work and two wait at most; a further one takes the place of the oldest, so that what the
    robot acts on is never older than a few frames.
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
            print(f"frame passed over: {error}", file=sys.stderr)
        else:
            tally.answered += 1
            act(boxes, predictions)

    for frame in frames:
        boxes = detect(frame)
        waiting.append((boxes, recognizer.classify_async(frame, boxes=boxes)))
        tally.frames += 1
        while waiting and waiting[0][1].done():
            take()
        # Here the robot steers; nothing above has made it wait.
    while waiting:
        take()
    return tally


def report(boxes: Sequence[Box], predictions: Sequence[hmdrn.Prediction]) -> None:
    """Print what was seen. Put what your robot does here."""
    for box, seen in zip(boxes, predictions, strict=True):
        # `known` is None unless the gallery was calibrated (`hmdrn enroll ... --far 0.05`).
        label = "unknown" if seen.known is False else seen.label
        print(f"{label} ({100 * seen.probability:.0f} %) at {box}")


def main() -> int:
    """Enroll three species, then name them in a moving scene, by both loops."""
    parser = argparse.ArgumentParser(description="Name what a detector finds, frame by frame.")
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--fps", type=float, default=30, help="0: as fast as they come")
    arguments = parser.parse_args()
    try:
        recognizer = hmdrn.load(arguments.bundle)
        # A robot would have a gallery: hmdrn.load(bundle, gallery="site7.gallery").
        for species, images in zip(SPECIES, draw_specimens(SPECIES, SHOTS, size=SIZE), strict=True):
            recognizer.enroll(species_name(species), images)
        print("one frame, waited for:")
        name_each_frame(recognizer, camera(1), report)
        print(f"{arguments.frames} frames, not waited for:")
        tally = name_when_ready(recognizer, camera(arguments.frames, arguments.fps), lambda *_: None)
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{tally.answered} answered, {tally.dropped} dropped for newer ones, {tally.failed} failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
