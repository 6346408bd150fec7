"""A Raspberry Pi's camera, through picamera2 of the system's packages; not yet run on hardware."""

from __future__ import annotations

import contextlib
import importlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hmdrn.watching.opencv import explain_import_error
from hmdrn_runtime.errors import SourceError
from hmdrn_runtime.messages import format_error

DEFAULT_SIZE, DEFAULT_RATE = (1280, 720), 15.0
"""Width and height in pixels, and frames a second."""
_BUFFERS = 3
"""Frames in the camera's memory, about 3 MB each at 1280x720."""
_FORMAT = "RGB888"
"""picamera2's name of 8-bit pixels whose bytes are blue, green, red, as OpenCV has them."""
_ADDRESS = re.compile(r"picamera(?:://(\d+)?(?:\?(.*))?)?")


@dataclass(frozen=True)
class PicameraAddress:
    """A Raspberry Pi's camera, as a user names it.

    Attributes:
        number: The camera's number, from 0.
        size: Width and height of its frames in pixels.
        rate: Frames a second, above 0.
    """

    number: int = 0
    size: tuple[int, int] = DEFAULT_SIZE
    rate: float = DEFAULT_RATE

    @classmethod
    def parse(cls, text: str) -> PicameraAddress | None:
        """Parse "picamera" or "picamera://0?size=1920x1080&rate=10"; None for any other text.

        Raises:
            SourceError: The size or rate is unusable, or there are other settings.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            return None
        settings = dict(part.partition("=")[::2] for part in (match[2] or "").split("&") if part)
        size = re.fullmatch(r"(\d{2,5})x(\d{2,5})", settings.pop("size", "{}x{}".format(*DEFAULT_SIZE)))
        rate = re.fullmatch(r"\d{1,3}(\.\d+)?", settings.pop("rate", str(DEFAULT_RATE)))
        if settings or size is None or rate is None or not float(rate[0]) > 0:
            raise SourceError(f"cannot watch {text!r}: write it as picamera://0?size=1280x720&rate=15")
        return cls(int(match[1] or 0), (int(size[1]), int(size[2])), float(rate[0]))


class PicameraCapture:
    """Frames of a Raspberry Pi's camera.

    Args:
        address: The camera.

    Attributes:
        rate: Frames a second.
        frames: 0: a camera has no end.

    Raises:
        SourceError: picamera2 is not installed, or the camera cannot be opened.
    """

    frames: int = 0

    def __init__(self, address: PicameraAddress) -> None:
        self.rate: float = address.rate
        self._name = f"picamera://{address.number}"
        picamera2 = _import_picamera2()
        self._camera: Any = None
        try:
            self._camera = picamera2.Picamera2(address.number)
            configuration = self._camera.create_video_configuration(
                main={"size": address.size, "format": _FORMAT},
                controls={"FrameRate": address.rate},
                buffer_count=_BUFFERS,
            )
            self._camera.configure(configuration)
            self._camera.start()
        except Exception as error:  # IndexError, RuntimeError and others of libcamera
            self.close()
            raise SourceError(
                f"cannot open {self._name}: {format_error(error)}; check its cable and that no other program "
                "uses it, with rpicam-hello --list-cameras"
            ) from error

    def read(self) -> npt.NDArray[np.uint8]:
        """Return the next frame, BGR of (height, width, 3). Blocks."""
        return np.asarray(self._camera.capture_array("main"), np.uint8)

    def close(self) -> None:
        """Release the camera."""
        if self._camera is not None:
            for release in (self._camera.stop, self._camera.close):
                with contextlib.suppress(Exception):  # a camera that has failed cannot be stopped either
                    release()


def _import_picamera2() -> Any:
    try:
        return importlib.import_module("picamera2")
    except ModuleNotFoundError as error:
        raise SourceError(
            f"a Raspberry Pi's camera needs picamera2, which cannot be imported ({format_error(error)}): run "
            "sudo apt install python3-picamera2, and make the virtual environment with --system-site-packages"
        ) from error
    except Exception as error:  # its extensions, compiled for another NumPy, raise ValueError too
        problem = explain_import_error(error)
        raise SourceError(
            f"a Raspberry Pi's camera needs picamera2, which is installed and cannot be imported: {problem}"
        ) from error
