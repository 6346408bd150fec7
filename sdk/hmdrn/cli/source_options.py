"""Options of `hmdrn watch` that say what is watched, and how its frames are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hmdrn.cli.options import PATH, option
from hmdrn.cli.parameters import FiniteRange, parse_moment
from hmdrn.watching.seen_photos import STATE_NAME


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    decorators = (
        option(
            "--source",
            "-s",
            required=True,
            help="A camera's number (0), a video, a folder of photos, rtsp://... or http://..., csi://0 (a "
            "Jetson's camera) or picamera (a Raspberry Pi's), neither yet run on hardware, or a GStreamer "
            "pipeline that ends in appsink.",
        ),
        option(
            "--every-frame/--newest",
            default=None,
            help="Answer every frame, or only the newest and drop those that it overtook; a file is then "
            "played at its own rate, like a camera. Default: every frame of a file, the newest of "
            "other sources.",
        ),
        option(
            "--follow",
            is_flag=True,
            help="Of a folder: wait for further photos. Photos that were answered are not answered again "
            "after a restart; a file that is still being written waits.",
        ),
        option(
            "--follow-state",
            type=PATH,
            help=f"File that notes the answered photos.  [default: {STATE_NAME} in the folder]",
        ),
        option(
            "--follow-gallery/--fixed-gallery",
            default=True,
            help="Take over what other commands write to the gallery meanwhile, or keep it as it "
            "is at the start.",
        ),
        option("--loop", is_flag=True, help="Start a file or folder again at its end; frame numbers go on."),
        option(
            "--start",
            metavar="TIME",
            callback=parse_moment,
            help="When the recording of a video began, such as 2026-05-01T08:30.  [default: its file's last "
            "change less its length]",
        ),
        option(
            "--stall-after",
            type=FiniteRange(0.1),
            default=5.0,
            metavar="S",
            help="Seconds without a frame after which a live source counts as stalled, and is opened again.",
        ),
        option(
            "--poll",
            type=FiniteRange(0, min_open=True),
            metavar="S",
            help="Seconds between two requests to a camera that serves one picture for each (http://...).  "
            "[default: 1, where such a camera is noticed]",
        ),
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
