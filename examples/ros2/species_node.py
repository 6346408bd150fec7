"""A ROS 2 node that classifies a detector's boxes by species.

Needs: ROS 2 Humble or later with rclpy, sensor_msgs, vision_msgs and message_filters, and hmdrn in the Python
that runs ROS. Run, after `hmdrn enroll` has written the gallery:

    python3 species_node.py --ros-args -p gallery:=site7.gallery -r image:=/camera/image_raw

Subscribes to `image` (sensor_msgs/Image) and `detections` (vision_msgs/Detection2DArray, whose header's stamp
is that of the image), publishes `species`: the same detections with the species as their results. If images
arrive faster than they can be classified, the oldest waiting ones are dropped.
"""

from __future__ import annotations

import sys

import rclpy
from message_filters import Subscriber, TimeSynchronizer
from naming import classify_detections
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray, ObjectHypothesisWithPose

import hmdrn

QUEUE_SIZE = 10
"""Images and detections that wait for each other: more than the detector's delay."""


class SpeciesNode(Node):
    """Parameters: `gallery` (a file), `bundle` ("default"), `threads` (CPU threads for one image; 0: all)."""

    def __init__(self) -> None:
        super().__init__("species")
        bundle = self.declare_parameter("bundle", "default").value
        gallery = self.declare_parameter("gallery", "").value
        threads = self.declare_parameter("threads", 0).value
        if not gallery:
            raise hmdrn.GalleryError("no gallery: give one with -p gallery:=site7.gallery")
        self.recognizer = hmdrn.load(bundle, gallery=gallery, threads=threads or None)
        self.publisher = self.create_publisher(Detection2DArray, "species", 1)
        # Sensor quality of service: a late image is useless, and is not sent again.
        image = Subscriber(self, Image, "image", qos_profile=qos_profile_sensor_data)
        detections = Subscriber(self, Detection2DArray, "detections", qos_profile=qos_profile_sensor_data)
        self.synchronizer = TimeSynchronizer([image, detections], QUEUE_SIZE)
        self.synchronizer.registerCallback(self.classify)
        self.get_logger().info(f"{len(self.recognizer.gallery)} species from {gallery}")

    def classify(self, image: Image, detections: Detection2DArray) -> None:
        """Publish the detections of an image with their species, once they are classified."""
        classify_detections(
            self.recognizer, image, detections, ObjectHypothesisWithPose, self.publisher.publish, self.warn
        )

    def warn(self, message: str) -> None:
        """Log why an image cannot be used."""
        self.get_logger().warning(message, throttle_duration_sec=5.0)


def main() -> int:
    """Run until ROS shuts down."""
    rclpy.init()
    try:
        rclpy.spin(SpeciesNode())
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
