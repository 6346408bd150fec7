from __future__ import annotations

import io
import shutil
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import pytest
from outcomes import Outcome
from PIL import Image

from hmdrn.cli.main import cli, run
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species


@pytest.fixture
def hmdrn():
    """Run `hmdrn <arguments>` as the entry point does, without a new process."""

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(cli, "hmdrn", [str(a) for a in arguments])
        return Outcome(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def specimens(tmp_path_factory):
    """Photos of four species as files: <species>/<n>.png, six each."""
    folder = tmp_path_factory.mktemp("specimens")
    for s, images in enumerate(draw_specimens(range(4), 6, size=96)):
        (folder / name_species(s)).mkdir()
        for n, image in enumerate(images):
            Image.fromarray(image).save(folder / name_species(s) / f"{n}.png")
    return folder


@pytest.fixture(scope="session")
def enrolled(specimens, tmp_path_factory):
    """A folder with site.gallery, as `hmdrn enroll` makes it of the specimens, and its contact sheet."""
    folder = tmp_path_factory.mktemp("enrolled")
    with redirect_stdout(io.StringIO()):
        assert run(cli, "hmdrn", ["enroll", "default", str(specimens), "-g", f"{folder}/site.gallery"]) == 0
    return folder


@pytest.fixture
def gallery(enrolled, tmp_path):
    """A test's own copy of the gallery of the specimens; enrolling anew takes a second each time."""
    return shutil.copytree(enrolled, tmp_path, dirs_exist_ok=True) / "site.gallery"


@pytest.fixture
def photo(tmp_path):
    """Write one photo file of random content."""

    def write(name: str = "photo.png", size: tuple[int, int] = (120, 100), seed: int = 0) -> Any:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write
