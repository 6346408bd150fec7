"""Enroll a species from a few frames of a video, spread over its length.

Needs: `pip install '.[camera]'` in a checkout (OpenCV). Run:

    python examples/enroll_from_video.py clip.mp4 "Sooty Albatross" --gallery site7.gallery

A missing gallery is created. Film one animal that fills most of the frame, from several sides. The whole
video is read first. Frames that are blurred, badly lit or like the previous one are left out; the rest is
divided into as many parts as there are photos to enroll, and the sharpest frame of each part is enrolled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

import hmdrn
from hmdrn.plotting.contact_sheet import check_sheet_path, draw_contact_sheet
from hmdrn_runtime.images.quality import PreparedPhoto, is_near_duplicate, measure_quality, prepare_photo

try:
    import cv2
except ModuleNotFoundError:
    print(f"error: {hmdrn.MissingDependencyError('cv2', 'reading a video', 'camera')}", file=sys.stderr)
    sys.exit(2)


def read_frames(video: str, every: int = 1) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yield every n-th frame of a video: its number and time in the video, and RGB uint8 (H, W, 3).

    Args:
        video: A file, or another source that OpenCV opens.
        every: n; 1 for all frames. With 5, a video of 30 frames a second gives six a second.

    Raises:
        hmdrn.ImageError: The video cannot be opened, or has no frame.
    """
    capture = cv2.VideoCapture(video)
    try:
        if not capture.isOpened():
            raise hmdrn.ImageError(f"{video} cannot be opened as a video: check the path and the format")
        rate = capture.get(cv2.CAP_PROP_FPS)
        number = 0
        while capture.grab():
            if number % every == 0:
                read, frame = capture.retrieve()
                if read:
                    time = f" ({number / rate:.1f} s)" if rate > 0 else ""
                    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    yield f"frame {number}{time}", np.asarray(rgb, np.uint8)
            number += 1
        if number == 0:
            raise hmdrn.ImageError(f"{video} has no frame that can be decoded: check the file")
    finally:
        capture.release()


def choose_frames(frames: Iterable[PreparedPhoto], shots: int) -> list[PreparedPhoto]:
    """Choose the sharpest frame of each part of the video, without blurred, dark and repeated ones.

    Args:
        frames: The frames in order.
        shots: Number of parts, the most frames to choose.
    """
    usable: list[PreparedPhoto] = []
    for frame in frames:
        if not measure_quality(frame).issues and not (
            usable and is_near_duplicate(frame.pixels, usable[-1].pixels)
        ):
            usable.append(frame)
    ends = [round(len(usable) * i / shots) for i in range(shots + 1)]
    chosen: list[PreparedPhoto] = []
    for start, end in pairwise(ends):
        new = [
            frame
            for frame in usable[start:end]
            if not any(is_near_duplicate(frame.pixels, other.pixels) for other in chosen)
        ]
        if new:
            chosen.append(max(new, key=lambda frame: measure_quality(frame).sharpness))
    return chosen


def describe_report(report: hmdrn.EnrollmentReport) -> str:
    """Return the report of an enrollment as text."""
    lines = [f"{report.label}: {len(report.added)} frames added, {report.shots} photos now"]
    lines += [f"  {photo.name}: {photo.verdict}" for photo in report.photos]
    lines += [f"  {report.issue}"] if report.issue else []
    if report.nearest is not None:
        share = f"{100 * report.nearest.separability:.0f} %"
        lines.append(
            f"  most easily confused with {report.nearest.label}: {share} of its photos are recognized"
        )
    lines += [
        f"  one of these frames is also in {label}: one of the labels is wrong" for label in report.also_in
    ]
    lines += [f"  there is a species {label!r}: is it the same?" for label in report.similar]
    return "\n".join(lines)


def enroll(
    recognizer: hmdrn.Recognizer, label: str, video: str, shots: int, every: int
) -> tuple[hmdrn.EnrollmentReport, list[PreparedPhoto]]:
    """Enroll a few frames of a video, and return the report and the frames.

    Raises:
        hmdrn.HmdrnError: The video cannot be read, or has no usable frame.
    """
    preprocessing = recognizer.preprocessing
    # Only the network's input of a frame is stored, some 50 KB: an hour of video fits into memory.
    chosen = choose_frames(
        (prepare_photo(frame, preprocessing, name) for name, frame in read_frames(video, every)), shots
    )
    if not chosen:
        raise hmdrn.EnrollmentError(f"no frame of {video} was sharp and well lit: film it in better light")
    return recognizer.enroll(label, chosen), chosen


def main() -> int:
    """Enroll from the video on the command line, and save the gallery."""
    parser = argparse.ArgumentParser(description="Enroll a species from a video.")
    parser.add_argument("video")
    parser.add_argument("label", help="the species' name")
    parser.add_argument("--gallery", type=Path, required=True, help="file, created if missing")
    parser.add_argument("--bundle", default="default", help="folder NAME.hmdrn (%(default)s)")
    parser.add_argument("--shots", type=int, default=5, help="most frames to enroll (%(default)s)")
    parser.add_argument("--every", type=int, default=5, help="use every n-th frame (%(default)s)")
    arguments = parser.parse_args()
    if arguments.shots < 1 or arguments.every < 1:
        parser.error("--shots and --every must be 1 or more")
    gallery: Path = arguments.gallery
    try:
        sheet = check_sheet_path(gallery.with_name(f"{gallery.name}.png"))
        recognizer = hmdrn.load(arguments.bundle, gallery=gallery if gallery.exists() else None)
        report, frames = enroll(
            recognizer, arguments.label, arguments.video, arguments.shots, arguments.every
        )
        recognizer.save_gallery(gallery)
        draw_contact_sheet([report], [frames], sheet)
    except hmdrn.HmdrnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(describe_report(report))
    print(f"the frames are in {sheet}: look at them")
    calibrate = f"hmdrn gallery calibrate {gallery} --bundle {arguments.bundle} --far 0.05"
    print(f"to recognize unknown species: {calibrate}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
