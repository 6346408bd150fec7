"""Enroll a species from a video: of its frames, the few that teach most are taken.

Needs: `pip install 'hmdrn[camera]'` (OpenCV). Run:

    python examples/enroll_from_video.py clip.mp4 "Sooty Albatross" --gallery site7.gallery

The gallery is made if there is none. Film one animal that fills most of the picture, from several sides:
frames that are blurred, badly lit or like the ones before are passed over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import hmdrn


def frames_of(video: str, every: int = 1) -> Iterator[npt.NDArray[np.uint8]]:
    """Every so-manieth frame of a video, RGB uint8 (H, W, 3).

    Args:
        video: File, or whatever else OpenCV opens.
        every: 1 for all frames; 5 at 30 frames a second is six a second, in which an animal moves enough.

    Raises:
        hmdrn.ImageError: It cannot be opened, or has no frame.
    """
    capture = cv2.VideoCapture(video)
    try:
        if not capture.isOpened():
            raise hmdrn.ImageError(f"{video} cannot be opened as a video: check the path and the format")
        number = 0
        while capture.grab():
            if number % every == 0:
                read, frame = capture.retrieve()
                if read:
                    # OpenCV's frames are BGR.
                    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
        if number == 0:
            raise hmdrn.ImageError(f"{video} has no frame that can be decoded: check the file")
    finally:
        capture.release()


def describe(report: hmdrn.EnrollmentReport) -> str:
    """The report of an enrollment, for people."""
    lines = [f"{report.label}: {len(report.added)} frames added, {report.shots} photos now"]
    lines += [f"  {photo.name}: {photo.verdict}" for photo in report.photos]
    if report.nearest is not None:
        share = f"{100 * report.nearest.separability:.0f} %"
        lines.append(
            f"  most easily confused with {report.nearest.label}: {share} of its photos are told apart"
        )
    lines += [
        f"  one of these frames is also in {label}: one of the labels is wrong" for label in report.also_in
    ]
    lines += [f"  there is a species {label!r}: is it the same?" for label in report.similar]
    return "\n".join(lines)


def main() -> int:
    """Enroll from the video that the command line names, and save the gallery."""
    parser = argparse.ArgumentParser(description="Enroll a species from a video.")
    parser.add_argument("video")
    parser.add_argument("label", help="the species' name")
    parser.add_argument("--gallery", type=Path, required=True, help="file, made if there is none")
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn")
    parser.add_argument("--shots", type=int, default=5, help="frames to take at most")
    parser.add_argument("--every", type=int, default=5, help="look at every so-manieth frame")
    arguments = parser.parse_args()
    if arguments.shots < 1 or arguments.every < 1:
        parser.error("--shots and --every are 1 or more")
    try:
        known = arguments.gallery if arguments.gallery.exists() else None
        recognizer = hmdrn.load(arguments.bundle, gallery=known)
        frames = frames_of(arguments.video, arguments.every)
        report = recognizer.enroll_stream(arguments.label, frames, shots=arguments.shots)
        recognizer.save_gallery(arguments.gallery)
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(describe(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
