from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from films import film
from PIL import Image

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import species_name

SHOWN = (0, 2, 1)
"""The drawn species of the film, in the order in which they are shown."""


@dataclass(frozen=True)
class Site:
    """A drawn gallery, and a film of specimens of its species."""

    gallery: Path
    film: Path
    photos: list[Path]
    labels: list[str]
    """In the order of the film."""


@pytest.fixture(scope="session")
def site(once) -> Site:
    def make(folder: Path) -> None:
        folder.mkdir()
        recognizer = hmdrn.load("default", threads=1)
        drawn = draw_specimens(range(3), 4, size=128)
        for number, images in enumerate(drawn):
            recognizer.enroll(species_name(number), list(images))
        recognizer.save_gallery(folder / "site.gallery")
        shown = [Image.fromarray(drawn[number][0]) for number in SHOWN]
        film(folder / "film.mp4", shown, seconds=1.0, side=160)
        for place, image in enumerate(shown):
            image.save(folder / f"{place}.jpg", quality=95)

    folder = once("watched", make)
    photos = [folder / f"{place}.jpg" for place in range(len(SHOWN))]
    return Site(folder / "site.gallery", folder / "film.mp4", photos, [species_name(n) for n in SHOWN])


@pytest.fixture(scope="session")
def recognizer(site):
    return hmdrn.load("default", site.gallery, threads=1)


class Camera:
    """A process that serves a stream, to be killed and started again."""

    def __init__(self, photos: list[Path]) -> None:
        self._photos, self.port = photos, 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        script = Path(__file__).parents[2] / "helpers" / "mjpeg_server.py"
        command = [sys.executable, str(script), str(self.port), *map(str, self._photos)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def camera(site) -> Iterator[Camera]:
    served = Camera(site.photos)
    yield served
    served.kill()
