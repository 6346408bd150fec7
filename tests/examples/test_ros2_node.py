from __future__ import annotations

import math
import sys
import threading
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import hmdrn

# The fields of the messages of ROS 2 Humble (sensor_msgs, vision_msgs 4) that the node reads or fills.


@dataclass
class Image:
    height: int
    width: int
    encoding: str
    step: int
    data: bytes
    header: Any = "header"


@dataclass
class Point2D:
    x: float
    y: float


@dataclass
class Pose2D:
    position: Point2D
    theta: float = 0.0


@dataclass
class BoundingBox2D:
    center: Pose2D
    size_x: float
    size_y: float


@dataclass
class ObjectHypothesis:
    class_id: str = ""
    score: float = 0.0


@dataclass
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)


@dataclass
class Detection2D:
    bbox: BoundingBox2D
    results: list = field(default_factory=lambda: [ObjectHypothesisWithPose(ObjectHypothesis("insect", 0.9))])


@dataclass
class Detection2DArray:
    detections: list
    header: Any = "header"


def detection(x0: float, y0: float, x1: float, y1: float, theta: float = 0.0) -> Detection2D:
    center = Pose2D(Point2D((x0 + x1) / 2, (y0 + y1) / 2), theta)
    return Detection2D(BoundingBox2D(center, x1 - x0, y1 - y0))


def message(frame: np.ndarray, encoding: str = "rgb8", padding: int = 0) -> Image:
    rows = frame.reshape(len(frame), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    return Image(frame.shape[0], frame.shape[1], encoding, padded.shape[1], padded.tobytes())


@pytest.fixture
def frame(drawn):
    """640x480, a specimen of each species that was not enrolled side by side; and their boxes."""
    scene = np.zeros((480, 640, 3), np.uint8)
    boxes = []
    for index, images in enumerate(drawn):
        x = 20 + 200 * index
        scene[100:228, x : x + 128] = images[-1]
        boxes.append((x, 100, x + 128, 228))
    return scene, boxes


@pytest.fixture
def named(example, recognizer):
    """Classify detections and wait for them; return the published ones and the warnings."""
    naming = example("ros2/naming.py")

    def name(image: Image, *detections: Detection2D) -> tuple[list, list]:
        published, warned, done = [], [], threading.Event()
        naming.classify_detections(
            recognizer,
            image,
            Detection2DArray(list(detections)),
            ObjectHypothesisWithPose,
            lambda answer: (published.append(answer), done.set()),
            lambda text: (warned.append(text), done.set()),
        )
        assert done.wait(30)
        return published, warned

    return name


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
@pytest.mark.parametrize("padding", [0, 5])
def test_pixels_are_the_same_for_every_encoding_and_row_length(example, encoding, padding):
    true = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    coded = true[..., ::-1] if encoding.startswith("bgr") else true
    if len(encoding) == 5:
        coded = np.concatenate([coded, np.full((6, 9, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(
        example("ros2/naming.py").to_pixels(message(coded, encoding, padding)), true
    )


def test_gray_becomes_three_equal_channels(example):
    gray = np.arange(54, dtype=np.uint8).reshape(6, 9)
    channels = example("ros2/naming.py").to_pixels(message(gray, "mono8"))
    np.testing.assert_array_equal(channels, np.dstack([gray] * 3))


def test_an_unreadable_image_is_a_warning(named):
    small = np.zeros((9, 9, 3), np.uint8)
    assert named(message(small, "yuv422"))[1][0].startswith("images are encoded as 'yuv422'")
    short = message(small)
    short.data = short.data[:-1]
    assert "has 242 bytes" in named(short)[1][0]


def test_a_turned_box_becomes_the_upright_one_around_it(example):
    to_box = example("ros2/naming.py").to_box
    assert to_box(detection(100, 100, 200, 140), 640, 480) == (100, 100, 200, 140)
    assert to_box(detection(100, 100, 200, 140, math.pi / 2), 640, 480) == (130, 70, 170, 170)
    assert to_box(detection(100, 100, 200, 200, math.pi / 4), 640, 480) == (79, 79, 221, 221)


def test_a_box_off_the_image_tiny_or_nan_is_dropped(example):
    to_box = example("ros2/naming.py").to_box
    assert to_box(detection(-50, -50, 50, 60), 640, 480) == (0, 0, 50, 60)
    assert to_box(detection(650, 0, 700, 50), 640, 480) is None
    assert to_box(detection(0, 0, 7, 50), 640, 480) is None
    assert to_box(detection(0, 0, math.nan, 50), 640, 480) is None


def test_detections_come_out_with_their_species_best_first(named, frame, labels):
    scene, boxes = frame
    published, warned = named(message(scene[..., ::-1], "bgr8"), *(detection(*box) for box in boxes))
    assert not warned
    (answer,) = published
    assert answer.header == "header"
    assert [d.results[0].hypothesis.class_id for d in answer.detections] == labels
    for detection_out in answer.detections:
        scores = [result.hypothesis.score for result in detection_out.results]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)


def test_a_detection_that_is_too_small_keeps_its_results(named, frame, labels):
    scene, boxes = frame
    ((answer,), _) = named(message(scene), detection(0, 0, 4, 4), detection(*boxes[1]))
    assert [d.results[0].hypothesis.class_id for d in answer.detections] == ["insect", labels[1]]


def test_an_unknown_subject_has_unknown_as_its_first_result(example, frame):
    naming = example("ros2/naming.py")
    match = hmdrn.Match("Moth", 0.8, -1.0, {})
    results = naming._to_results(
        hmdrn.Prediction("Moth", 0.8, 0.6, False, (match,)), ObjectHypothesisWithPose
    )
    scores = [(result.hypothesis.class_id, result.hypothesis.score) for result in results]
    assert scores == [("unknown", 0.0), ("Moth", 0.8)]


@pytest.fixture
def ros(monkeypatch):
    """As much of ROS's Python as the node asks for: parameters, topics that deliver at once, a log."""
    log: list[tuple[str, str]] = []
    published: list[Any] = []
    parameters: dict[str, Any] = {}
    synchronizers: list[Any] = []

    class Node:
        def __init__(self, name: str) -> None:
            self.name_in_ros = name

        def declare_parameter(self, name, default):
            return type("Parameter", (), {"value": parameters.get(name, default)})

        def create_publisher(self, kind, topic, depth):
            assert (kind, topic) == (Detection2DArray, "species")
            return type("Publisher", (), {"publish": staticmethod(published.append)})

        def get_logger(self):
            logger = ModuleType("logger")
            logger.info = lambda text: log.append(("info", text))
            logger.warning = lambda text, throttle_duration_sec: log.append(("warning", text))
            return logger

    class TimeSynchronizer:
        def __init__(self, subscribers, queue_size):
            self.topics = list(subscribers)
            synchronizers.append(self)

        def registerCallback(self, call):
            self.call = call

    def module(name: str, **contents: Any) -> None:
        made = ModuleType(name)
        vars(made).update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    kinds = {"Detection2DArray": Detection2DArray, "ObjectHypothesisWithPose": ObjectHypothesisWithPose}
    module("rclpy", init=lambda: None, spin=lambda node: None, try_shutdown=lambda: None)
    module("rclpy.node", Node=Node)
    module("rclpy.qos", qos_profile_sensor_data="sensor data")
    module("rclpy.executors", ExternalShutdownException=type("ExternalShutdownException", (Exception,), {}))
    module("sensor_msgs")
    module("sensor_msgs.msg", Image=Image)
    module("vision_msgs")
    module("vision_msgs.msg", **kinds)
    module(
        "message_filters",
        Subscriber=lambda node, kind, topic, qos_profile: (kind, topic),
        TimeSynchronizer=TimeSynchronizer,
    )
    ros = ModuleType("ros")
    vars(ros).update(log=log, published=published, parameters=parameters, synchronizers=synchronizers)
    return ros


@pytest.fixture
def node(example, ros, monkeypatch):
    monkeypatch.delitem(sys.modules, "naming", raising=False)
    return example("ros2/species_node.py")


def test_the_node_connects_its_topics_and_publishes_species(node, ros, gallery, frame, labels):
    ros.parameters.update(gallery=str(gallery), threads=1)
    running = node.SpeciesNode()
    assert ros.log == [("info", f"3 species from {gallery}")]
    (synchronizer,) = ros.synchronizers
    assert synchronizer.topics == [(Image, "image"), (Detection2DArray, "detections")]
    scene, boxes = frame
    synchronizer.call(message(scene), Detection2DArray([detection(*box) for box in boxes]))
    synchronizer.call(message(scene, "yuv422"), Detection2DArray([]))
    running.recognizer.classify_async(scene).result(30)  # after it, what came before is done
    (answer,) = ros.published
    assert [d.results[0].hypothesis.class_id for d in answer.detections] == labels
    assert ros.log[1][0] == "warning"


def test_a_node_without_a_gallery_says_how_to_give_one(node, ros, capsys):
    assert node.main() == 2
    assert capsys.readouterr().err == "error: no gallery: give one with -p gallery:=site7.gallery\n"
