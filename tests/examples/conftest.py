"""The examples as modules, and a gallery and photos for them to work on."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import hmdrn
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import species_name

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SPECIES = (3, 77, 12)
SHOTS = 5


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the examples."""
    return EXAMPLES


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import an example by its path, as Python does when it is run: its folder comes first."""

    def load(name: str) -> ModuleType:
        path = EXAMPLES / name
        monkeypatch.syspath_prepend(str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def labels() -> list[str]:
    """The three species of the photos."""
    return [species_name(species) for species in SPECIES]


@pytest.fixture(scope="session")
def drawn() -> np.ndarray:
    """Specimens of the three species, uint8 (3, 8, 128, 128, 3): five to enroll and three to name."""
    return draw_specimens(SPECIES, SHOTS + 3, size=128)


@pytest.fixture(scope="session")
def photos(once, drawn, labels) -> Path:
    """The same as files, <species>/<n>.png."""

    def make(folder: Path) -> None:
        for label, images in zip(labels, drawn, strict=True):
            (folder / label).mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(folder / label / f"{number}.png")

    return once("example-photos", make)


@pytest.fixture(scope="session")
def gallery(once, drawn, labels) -> Path:
    """The first five specimens of each species, enrolled with the model that comes with the package."""

    def make(folder: Path) -> None:
        folder.mkdir()
        recognizer = hmdrn.load("default", threads=1)
        for label, images in zip(labels, drawn, strict=True):
            recognizer.enroll(label, images[:SHOTS])
        recognizer.save_gallery(folder / "site7.gallery")

    return once("example-gallery", make) / "site7.gallery"


@pytest.fixture
def recognizer(gallery) -> hmdrn.Recognizer:
    """A recognizer of the three species, of the test's own."""
    return hmdrn.load("default", gallery=gallery, threads=1)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of an example that runs as a process: one thread, since tests run side by side."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
