"""What the ROS 2 node does, free of ROS: messages to pixels and boxes, predictions to messages.

The functions read and fill the fields of sensor_msgs/Image and vision_msgs/Detection2DArray (as of ROS 2
Humble) and import neither, so that they can be tested, and used, where there is no ROS.
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
"""A message of the type that the argument's description names."""
Box: TypeAlias = tuple[float, float, float, float]

UNKNOWN = "unknown"
"""Class of what is no enrolled species; the gallery has to be calibrated (`hmdrn enroll ... --far 0.05`)."""
MIN_SIDE = 8
"""Fewest pixels of a box's shorter side on the image that hmdrn looks at."""

# Where red, green and blue lie in a pixel's bytes, and how many bytes there are.
_ENCODINGS = {
    "rgb8": ((0, 1, 2), 3),
    "bgr8": ((2, 1, 0), 3),
    "rgba8": ((0, 1, 2), 4),
    "bgra8": ((2, 1, 0), 4),
    "mono8": ((0, 0, 0), 1),
}


def pixels(image: Message) -> npt.NDArray[np.uint8]:
    """RGB pixels (height, width, 3) of a sensor_msgs/Image.

    Raises:
        hmdrn.ImageError: An encoding other than rgb8, bgr8, rgba8, bgra8 and mono8, or too few bytes.
    """
    if image.encoding not in _ENCODINGS:
        raise hmdrn.ImageError(
            f"images are encoded as {image.encoding!r}: have the camera's driver, or image_proc, publish "
            f"one of {', '.join(_ENCODINGS)}"
        )
    channels, depth = _ENCODINGS[image.encoding]
    data = np.frombuffer(image.data, np.uint8)
    # A row may end with bytes that fill it up to `step`.
    if image.step < image.width * depth or data.size < image.step * image.height:
        raise hmdrn.ImageError(
            f"an image of {image.width}x{image.height} {image.encoding} has {data.size} bytes, {image.step} "
            "a row: its publisher is at fault"
        )
    rows = data[: image.step * image.height].reshape(image.height, image.step)[:, : image.width * depth]
    return rows.reshape(image.height, image.width, depth)[..., channels]


def box_of(detection: Message, width: int, height: int) -> Box | None:
    """The part of a vision_msgs/Detection2D's box that lies on the image, upright, as x0, y0, x1, y1.

    A turned box becomes the upright one around it. None if less than 8 pixels of a side are left, which is
    too little to look at.
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


def name_detections(
    recognizer: hmdrn.Recognizer,
    image: Message,
    detections: Message,
    hypothesis: Callable[[], Message],
    publish: Callable[[Message], None],
    warn: Callable[[str], None],
) -> None:
    """Name what a detector found, in the background; returns at once.

    When images come faster than they can be named, the oldest that waits is dropped: it is not published.

    Args:
        recognizer: Names it.
        image: sensor_msgs/Image.
        detections: vision_msgs/Detection2DArray for that image. The results of each detection become the
            species, best first; those of detections that are too small to name stay as they are.
        hypothesis: Makes an empty vision_msgs/ObjectHypothesisWithPose.
        publish: Is given the detections when they are named, in another thread.
        warn: Is told why an image could not be used.
    """

    def answered(future: Future[Any]) -> None:
        try:
            answers = future.result()
        except hmdrn.FrameDroppedError:
            return
        except hmdrn.HmdrnError as error:
            warn(str(error))
            return
        for (detection, _), answer in zip(fit, answers, strict=True):
            detection.results = _results(answer, hypothesis)
        publish(detections)

    try:
        frame = pixels(image)
    except hmdrn.ImageError as error:
        warn(str(error))
        return
    found = [(one, box_of(one, image.width, image.height)) for one in detections.detections]
    fit = [(one, box) for one, box in found if box is not None]
    recognizer.classify_async(frame, boxes=[box for _, box in fit]).add_done_callback(answered)


def _results(answer: hmdrn.Prediction, hypothesis: Callable[[], Message]) -> Sequence[Message]:
    # Who reads the first result alone must not take an unknown for a species.
    named = [(match.label, match.probability) for match in answer.ranking]
    if answer.known is False:
        named.insert(0, (UNKNOWN, 0.0))
    results = []
    for label, probability in named:
        result = hypothesis()
        result.hypothesis.class_id = label
        result.hypothesis.score = probability
        results.append(result)
    return results
