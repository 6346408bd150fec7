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
    centre = Pose2D(Point2D((x0 + x1) / 2, (y0 + y1) / 2), theta)
    return Detection2D(BoundingBox2D(centre, x1 - x0, y1 - y0))


def message(frame: np.ndarray, encoding: str = "rgb8", padding: int = 0) -> Image:
    rows = frame.reshape(len(frame), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    return Image(frame.shape[0], frame.shape[1], encoding, padded.shape[1], padded.tobytes())


@pytest.fixture
def frame(drawn):
    """640x480, a specimen of each species that was not enrolled side by side; and their boxes."""
    scene = np.zeros((480, 640, 3), np.uint8)
    boxes = []
    for place, images in enumerate(drawn):
        x = 20 + 200 * place
        scene[100:228, x : x + 128] = images[-1]
        boxes.append((x, 100, x + 128, 228))
    return scene, boxes


@pytest.fixture
def named(example, recognizer):
    """Names detections and waits for them: what was published, what was warned of."""
    naming = example("ros2/naming.py")

    def name(image: Image, *detections: Detection2D) -> tuple[list, list]:
        published, warned, done = [], [], threading.Event()
        naming.name_detections(
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
def test_pixels_are_the_same_whatever_the_encoding_and_the_length_of_rows(example, encoding, padding):
    true = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    coded = true[..., ::-1] if encoding.startswith("bgr") else true
    if len(encoding) == 5:
        coded = np.concatenate([coded, np.full((6, 9, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(example("ros2/naming.py").pixels(message(coded, encoding, padding)), true)


def test_grey_becomes_three_equal_channels(example):
    grey = np.arange(54, dtype=np.uint8).reshape(6, 9)
    found = example("ros2/naming.py").pixels(message(grey, "mono8"))
    np.testing.assert_array_equal(found, np.dstack([grey] * 3))


def test_an_image_that_cannot_be_read_is_told(named):
    small = np.zeros((9, 9, 3), np.uint8)
    assert named(message(small, "yuv422"))[1][0].startswith("images are encoded as 'yuv422'")
    short = message(small)
    short.data = short.data[:-1]
    assert "has 242 bytes" in named(short)[1][0]


def test_a_turned_box_becomes_the_upright_one_around_it(example):
    box_of = example("ros2/naming.py").box_of
    assert box_of(detection(100, 100, 200, 140), 640, 480) == (100, 100, 200, 140)
    assert box_of(detection(100, 100, 200, 140, math.pi / 2), 640, 480) == (130, 70, 170, 170)
    assert box_of(detection(100, 100, 200, 200, math.pi / 4), 640, 480) == (79, 79, 221, 221)


def test_what_is_off_the_image_or_tiny_or_no_number_is_no_box(example):
    box_of = example("ros2/naming.py").box_of
    assert box_of(detection(-50, -50, 50, 60), 640, 480) == (0, 0, 50, 60)
    assert box_of(detection(650, 0, 700, 50), 640, 480) is None
    assert box_of(detection(0, 0, 7, 50), 640, 480) is None
    assert box_of(detection(0, 0, math.nan, 50), 640, 480) is None


def test_detections_come_out_with_their_species_best_first(named, frame, labels):
    scene, boxes = frame
    published, warned = named(message(scene[..., ::-1], "bgr8"), *(detection(*box) for box in boxes))
    assert not warned
    (answer,) = published
    assert answer.header == "header"
    assert [one.results[0].hypothesis.class_id for one in answer.detections] == labels
    for one in answer.detections:
        scores = [result.hypothesis.score for result in one.results]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)


def test_a_detection_that_is_too_small_keeps_its_results_beside_one_that_is_named(named, frame, labels):
    scene, boxes = frame
    ((answer,), _) = named(message(scene), detection(0, 0, 4, 4), detection(*boxes[1]))
    assert [one.results[0].hypothesis.class_id for one in answer.detections] == ["insect", labels[1]]


def test_what_is_no_enrolled_species_is_unknown_before_all_else(example, frame):
    naming = example("ros2/naming.py")
    match = hmdrn.Match("Moth", 0.8, -1.0, {})
    results = naming._results(hmdrn.Prediction("Moth", 0.8, 0.6, False, (match,)), ObjectHypothesisWithPose)
    found = [(one.hypothesis.class_id, one.hypothesis.score) for one in results]
    assert found == [("unknown", 0.0), ("Moth", 0.8)]


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


def test_the_node_connects_its_topics_and_publishes_what_it_named(node, ros, gallery, frame, labels):
    ros.parameters.update(gallery=str(gallery), threads=1)
    running = node.SpeciesNode()
    assert ros.log == [("info", f"3 species from {gallery}")]
    (together,) = ros.synchronizers
    assert together.topics == [(Image, "image"), (Detection2DArray, "detections")]
    scene, boxes = frame
    together.call(message(scene), Detection2DArray([detection(*box) for box in boxes]))
    together.call(message(scene, "yuv422"), Detection2DArray([]))
    running.recognizer.classify_async(scene).result(30)  # after it, what came before is done
    (answer,) = ros.published
    assert [one.results[0].hypothesis.class_id for one in answer.detections] == labels
    assert ros.log[1][0] == "warning"


def test_a_node_without_a_gallery_says_how_to_give_one(node, ros, capsys):
    assert node.main() == 2
    assert capsys.readouterr().err == "error: no gallery: give one with -p gallery:=site7.gallery\n"
