"""Options of `hmdrn watch` that find the subjects."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hmdrn.cli.options import option
from hmdrn.cli.parameters import FiniteRange, parse_region
from hmdrn.watching.sources import Source
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.images.preprocessing import Box

if TYPE_CHECKING:
    from hmdrn.watching.frames import Detector

_EXPECTED = "give motion, yolo:MODEL.onnx with the path of a detector, or command:PROGRAM"


_classes_option = option(
    "--detect-classes",
    metavar="NAMES",
    help="Classes of the yolo detector to keep, such as bird,cat.  [default: all]",
)
_score_option = option(
    "--detect-score",
    type=FiniteRange(0, 1),
    default=0.25,
    help="Least score of a yolo detector's box.",
)


@dataclass(frozen=True)
class DetectorOptions:
    """Values of the options.

    Attributes:
        detect: "motion", "yolo:MODEL.onnx", "command:PROGRAM", or None.
        detect_classes: Names of the detector's classes, separated by commas; all if None.
        detect_score: Least score of a detector's box.
        ignore: Zones without subjects.
        min_size: Least size of what moves, as a share of the frame's height.
    """

    detect: str | None
    detect_classes: str | None
    detect_score: float
    ignore: tuple[Box, ...] = ()
    min_size: float = 0.02


def detector_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `DetectorOptions`, which the function receives as `detector`."""

    @functools.wraps(function)
    def call(*arguments: Any, **values: Any) -> Any:
        options = DetectorOptions(**{field.name: values.pop(field.name) for field in fields(DetectorOptions)})
        return function(*arguments, detector=options, **values)

    decorators = (
        option(
            "--detect",
            metavar="HOW",
            help="Find the subjects: motion, before a camera that does not move, or yolo:MODEL.onnx, a YOLO "
            "detector that ultralytics exported, or, for photos of a folder, command:PROGRAM, which reads "
            "their paths and prints boxes as JSON lines. Each is answered, and followed from frame to frame.",
        ),
        _classes_option,
        _score_option,
        option(
            "--ignore",
            metavar="X0,Y0,X1,Y1",
            multiple=True,
            callback=_parse_zones,
            help="With --detect motion: zone in pixels without subjects, such as a road; repeatable.",
        ),
        option(
            "--min-size",
            type=FiniteRange(0.01, 1),
            default=0.02,
            help="With --detect motion: least size of a subject, as a share of the frame's height.",
        ),
    )
    for decorator in reversed(decorators):
        call = decorator(call)
    return call


def photo_detector_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for single photos, which the function receives as `detector`."""

    @functools.wraps(function)
    def call(*arguments: Any, **values: Any) -> Any:
        names = ("detect", "detect_classes", "detect_score")
        return function(
            *arguments, detector=DetectorOptions(**{name: values.pop(name) for name in names}), **values
        )

    decorators = (
        option(
            "--detect",
            metavar="HOW",
            help="Name the subjects that a detector finds, in place of whole photos: yolo:MODEL.onnx, a YOLO "
            "detector that ultralytics exported, or command:PROGRAM, which reads paths of photos and prints "
            "boxes as JSON lines.",
        ),
        _classes_option,
        _score_option,
    )
    for decorator in reversed(decorators):
        call = decorator(call)
    return call


def open_photo_detector(
    options: DetectorOptions, folder: Path, threads: int | None, stack: contextlib.ExitStack
) -> Detector | None:
    """Open the detector of `--detect` for a folder of photos; `stack` closes it; None without the option.

    Raises:
        HmdrnError: As `open_detector`.
    """
    expected = "give yolo:MODEL.onnx with the path of a detector, or command:PROGRAM"
    source = Source("photos", str(folder), str(folder))
    return open_detector(options, None, source, threads, lambda message: None, stack, expected)


def open_detector(
    options: DetectorOptions,
    boxes: str | None,
    source: Source,
    threads: int | None,
    report: Callable[[str], None],
    stack: contextlib.ExitStack,
    expected: str = _EXPECTED,
) -> Detector | None:
    """Open the detector of `--detect`; None without the option.

    Args:
        options: The options.
        boxes: The value of `--boxes`, which excludes `--detect`.
        source: The source to watch.
        threads: CPU threads; all cores if None.
        report: Called with what the detector notices of the camera.
        stack: Ends a program that it starts.
        expected: Advice if `--detect` has another value.

    Raises:
        HmdrnError: The options do not fit together, or the detector cannot be opened.
    """
    kind, _, model = (options.detect or "").partition(":")
    if options.detect_classes is not None and kind != "yolo":
        raise HmdrnError("--detect-classes is for --detect yolo:MODEL.onnx")
    if options.ignore and kind != "motion":
        raise HmdrnError("--ignore is for --detect motion")
    if options.detect is None:
        return None
    if boxes is not None:
        raise HmdrnError("give --detect or --boxes, not both")
    if options.detect == "motion":
        if source.kind == "photos":
            raise HmdrnError("--detect motion needs a camera or a film: photos of a folder do not move")
        from hmdrn.detectors.motion import MotionDetector, MotionSettings

        return MotionDetector(MotionSettings(options.min_size, options.ignore), report)
    if kind == "command":
        if source.kind != "photos":
            raise HmdrnError(
                "--detect command:PROGRAM is for photos of a folder: give the boxes of a program that sees "
                "the same camera or film to --boxes"
            )
        from hmdrn.detectors.command import CommandDetector

        return stack.enter_context(contextlib.closing(CommandDetector(model)))
    if kind != "yolo" or not model:
        raise HmdrnError(f"--detect is {options.detect!r}: {expected}")
    from hmdrn.detectors.onnx_detector import OnnxDetector

    names = options.detect_classes
    classes = None if names is None else [name.strip() for name in names.split(",") if name.strip()]
    return OnnxDetector(model, classes, options.detect_score, threads=threads)


def _parse_zones(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[Box, ...]:
    zones = (parse_region(context, option, zone) for zone in value)
    return tuple(zone for zone in zones if zone is not None)
