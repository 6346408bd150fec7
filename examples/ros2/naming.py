"""The logic of the ROS 2 node without ROS: messages to pixels and boxes, predictions to messages.

The functions read and fill the fields of sensor_msgs/Image and vision_msgs/Detection2DArray (as of ROS 2
Humble) and import neither, so that they can be tested and used without ROS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import hmdrn

Message: TypeAlias = Any
"""A ROS message; each argument's description names its type."""
Box: TypeAlias = tuple[float, float, float, float]

UNKNOWN = "unknown"
"""Class of subjects that are not an enrolled species; needs a calibrated gallery (`enroll --far 0.05`)."""
MIN_SIDE = 8
"""Least pixels of a box's shorter side on the image that hmdrn accepts."""

# Positions of red, green and blue in a pixel's bytes, and the number of bytes.
_ENCODINGS = {
    "rgb8": ((0, 1, 2), 3),
    "bgr8": ((2, 1, 0), 3),
    "rgba8": ((0, 1, 2), 4),
    "bgra8": ((2, 1, 0), 4),
    "mono8": ((0, 0, 0), 1),
}


def to_pixels(image: Message) -> npt.NDArray[np.uint8]:
    """Return the RGB pixels (height, width, 3) of a sensor_msgs/Image.

    Raises:
        hmdrn.ImageError: The encoding is not rgb8, bgr8, rgba8, bgra8 or mono8, or there are too few bytes.
    """
    if image.encoding not in _ENCODINGS:
        raise hmdrn.ImageError(
            f"images are encoded as {image.encoding!r}: have the camera's driver, or image_proc, publish "
            f"one of {', '.join(_ENCODINGS)}"
        )
    channels, depth = _ENCODINGS[image.encoding]
    data = np.frombuffer(image.data, np.uint8)
    # A row may be padded to `step` bytes.
    if image.step < image.width * depth or data.size < image.step * image.height:
        raise hmdrn.ImageError(
            f"an image of {image.width}x{image.height} {image.encoding} has {data.size} bytes, {image.step} "
            "a row: its publisher is at fault"
        )
    rows = data[: image.step * image.height].reshape(image.height, image.step)[:, : image.width * depth]
    return rows.reshape(image.height, image.width, depth)[..., channels]


def to_box(detection: Message, width: int, height: int) -> Box | None:
    """Return a vision_msgs/Detection2D's box, clipped to the image, as x0, y0, x1, y1.

    A rotated box becomes the upright one around it. None if a side has fewer than 8 pixels on the image.
    """
    box = detection.bbox
    cos, sin = abs(math.cos(box.center.theta)), abs(math.sin(box.center.theta))
    half_width = (box.size_x * cos + box.size_y * sin) / 2
    half_height = (box.size_x * sin + box.size_y * cos) / 2
    x, y = box.center.position.x, box.center.position.y
    sides = (x - half_width, y - half_height, x + half_width, y + half_height)
    if not all(math.isfinite(side) for side in sides):
        return None
    x0, x1 = (min(max(round(side), 0), width) for side in sides[::2])
    y0, y1 = (min(max(round(side), 0), height) for side in sides[1::2])
    return (x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= MIN_SIDE else None


def classify_detections(
    recognizer: hmdrn.Recognizer,
    image: Message,
    detections: Message,
    hypothesis: Callable[[], Message],
    publish: Callable[[Message], None],
    warn: Callable[[str], None],
) -> None:
    """Classify a detector's boxes in the background; returns at once.

    If images arrive faster than they can be classified, the oldest waiting one is dropped and not published.

    Args:
        recognizer: The recognizer.
        image: sensor_msgs/Image.
        detections: vision_msgs/Detection2DArray for that image. The results of each detection become the
            species, best first; detections that are too small keep their results.
        hypothesis: Makes an empty vision_msgs/ObjectHypothesisWithPose.
        publish: Called with the detections when they are classified, in another thread.
        warn: Called with the reason if an image cannot be used.
    """

    def on_done(future: Future[Any]) -> None:
        try:
            predictions = future.result()
        except hmdrn.FrameDroppedError:
            return
        except hmdrn.HmdrnError as error:
            warn(str(error))
            return
        for (detection, _), prediction in zip(usable, predictions, strict=True):
            detection.results = _to_results(prediction, hypothesis)
        publish(detections)

    try:
        frame = to_pixels(image)
    except hmdrn.ImageError as error:
        warn(str(error))
        return
    boxes = [(d, to_box(d, image.width, image.height)) for d in detections.detections]
    usable = [(detection, box) for detection, box in boxes if box is not None]
    recognizer.classify_async(frame, boxes=[box for _, box in usable]).add_done_callback(on_done)


def _to_results(prediction: hmdrn.Prediction, hypothesis: Callable[[], Message]) -> Sequence[Message]:
    # A reader of the first result only must not mistake an unknown subject for a species.
    scores = [(match.label, match.probability) for match in prediction.ranking]
    if prediction.known is False:
        scores.insert(0, (UNKNOWN, 0.0))
    results = []
    for label, probability in scores:
        result = hypothesis()
        result.hypothesis.class_id = label
        result.hypothesis.score = probability
        results.append(result)
    return results
