"""The C++ example against the Python runtime, on the same photos."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preprocessings import CROP, SQUASH

import hmdrn
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.images.preprocessing import _resized_size, prepare

SIZES = ((128, 128), (128, 96), (97, 153), (60, 51), (640, 480), (84, 84), (333, 92), (480, 640))
GRAPHS = resolve_bundle("default") / "graphs" / "fp32"

PREPARED = """
#include "photo.hpp"
#include <iostream>
int main(int, char** words) {
    for (char** path = words + 3; *path; ++path) {
        const auto input = hmdrn::prepare(hmdrn::read_ppm(*path), std::stoi(words[2]), words[1][0] == 's');
        std::cout.write(reinterpret_cast<const char*>(input.bytes.data()), input.bytes.size());
    }
}
"""


def ppm(image: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def photo(width: int, height: int) -> np.ndarray:
    """Edges, gradients and noise."""
    rng = np.random.default_rng(width * height)
    y, x = np.mgrid[:height, :width]
    base = np.stack([255 * x / width, 255 * y / height, 255 * ((x // 7 + y // 5) % 2)], axis=-1)
    return np.clip(base + rng.normal(0, 40, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def program(once, examples) -> Path:
    """recognize, built by its CMakeLists.txt with the headers of a package and the library of the wheel."""
    places = [
        os.environ.get("ONNXRUNTIME_INCLUDE", ""),
        "/usr/include/onnxruntime",
        "/usr/local/include/onnxruntime",
    ]
    headers = [place for place in places if place and Path(place, "onnxruntime_cxx_api.h").is_file()]
    if not headers:
        pytest.skip(
            "needs onnxruntime_cxx_api.h: Debian's libonnxruntime-dev, or its folder in $ONNXRUNTIME_INCLUDE"
        )
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: Debian's {tool}")
    capi = Path(find_spec("onnxruntime").origin).parent / "capi"
    libraries = sorted(capi.glob("libonnxruntime.so.*"))
    if not libraries:
        pytest.skip(f"needs libonnxruntime.so, which the onnxruntime wheel of Linux has in {capi}")

    def build(folder: Path) -> None:
        folder.mkdir()
        # The wheel has the library under its full version alone; programs ask for the first digit's.
        for name in ("libonnxruntime.so.1", "libonnxruntime.so"):
            (folder / name).symlink_to(libraries[-1])
        settings = {
            "ONNXRUNTIME_INCLUDE": headers[0],
            "ONNXRUNTIME_LIBRARY": folder / "libonnxruntime.so",
            "CMAKE_CXX_FLAGS": "-Werror",
            "CMAKE_BUILD_TYPE": "None",  # compiles quickest
        }
        steps = (
            [
                "cmake",
                "-S",
                examples / "onnx_graphs",
                "-B",
                folder,
                *(f"-D{name}={value}" for name, value in settings.items()),
            ],
            ["cmake", "--build", folder],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr

    return once("example-cpp", build) / "recognize"


@pytest.fixture(scope="module")
def site(drawn, labels, once) -> Path:
    """species/<species>/<n>.ppm, 4, 3 and 5 of them, and photos to name, of several sizes."""

    def make(folder: Path) -> None:
        for label, images, shots in zip(labels, drawn, (4, 3, 5), strict=True):
            for number, image in enumerate(images[:shots]):
                ppm(image, folder / "species" / label / f"{number}.ppm")
        (folder / "species" / "notes.txt").write_text("no species")
        for (width, height), image in zip(SIZES, np.concatenate(drawn[:, 5:]), strict=False):
            resized = Image.fromarray(image).resize((width, height))
            ppm(np.asarray(resized), folder / "photos" / f"{width}x{height}.ppm")

    return once("example-site", make)


@pytest.mark.parametrize("squash", [False, True])
def test_cpp_classifies_photos_as_python_with_the_same_distances(program, prepared, site, labels, squash):
    mode = "squash" if squash else "crop"
    photos = sorted((site / "photos").iterdir())
    command = [program, *(["--squash"] if squash else []), GRAPHS, site / "species", *photos]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == len(SIZES) * 3
    recognizer = hmdrn.load("default", variant="fp32", threads=1)
    side = recognizer.bundle.manifest.input.size
    for label in labels:
        recognizer.enroll(label, prepared(mode, side, sorted((site / "species" / label).iterdir())))
    for path, answer in zip(photos, recognizer.classify_batch(prepared(mode, side, photos)), strict=True):
        ours = {row[1]: row[2:] for row in rows if row[0] == str(path)}
        assert list(ours) == sorted(labels)
        assert [label for label, row in ours.items() if row[3] == "best"] == [answer.label]
        for match in answer.ranking:
            theirs = [match.distances["high"], match.distances["mid"], match.logit]
            np.testing.assert_allclose([float(v) for v in ours[match.label][:3]], theirs, rtol=1e-4)


def test_an_error_is_one_line(program, site, tmp_path):
    species, (first, *_) = site / "species", sorted((site / "photos").iterdir())
    torn = tmp_path / "torn.ppm"
    torn.write_bytes(first.read_bytes()[:-9])
    text = tmp_path / "text.ppm"
    text.write_text("P6 no numbers")
    for arguments, words in (
        ((tmp_path, species, first), "enroll.onnx is missing"),
        ((GRAPHS, tmp_path, first), "holds no folder with .ppm photos"),
        ((GRAPHS, species, tmp_path / "none.ppm"), "cannot be opened"),
        ((GRAPHS, species, torn), "ends early"),
        ((GRAPHS, species, text), "is not a binary PPM"),
        ((GRAPHS, species), "usage: "),
    ):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, arguments
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def prepared(once, examples):
    """Photos as photo.hpp prepares them, uint8 (N, side, side, 3): prepared(mode, side, paths)."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++: Debian's g++")

    def build(folder: Path) -> None:
        folder.mkdir()
        source = folder / "prepared.cpp"
        source.write_text(PREPARED)
        command = [
            "g++",
            "-std=c++17",
            "-O1",
            "-I",
            examples / "onnx_graphs",
            source,
            "-o",
            folder / "prepared",
        ]
        subprocess.run(command, check=True, timeout=300)

    program = once("example-prepared", build) / "prepared"

    def prepared(mode: str, side: int, paths: list[Path]) -> np.ndarray:
        command = [program, mode, str(side), *paths]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
        return np.frombuffer(done.stdout, np.uint8).reshape(len(paths), side, side, 3)

    return prepared


@pytest.mark.parametrize("preprocessing", [CROP, SQUASH], ids=["crop", "squash"])
def test_photos_are_prepared_in_cpp_as_by_pillow_columns_first(prepared, tmp_path, preprocessing):
    photos = [ppm(photo(*size), tmp_path / f"{n}.ppm") for n, size in enumerate(SIZES)]
    for ours, path in zip(prepared(preprocessing.mode, 84, photos), photos, strict=True):
        image = Image.open(path)
        whole = (
            _resized_size(image.width, image.height, preprocessing) if image.size != (84, 84) else image.size
        )
        for size in ((whole[0], image.height), whole):  # one direction at a time
            image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (round((side - 84) / 2) for side in image.size)
        np.testing.assert_array_equal(ours, np.asarray(image.crop((left, top, left + 84, top + 84))))
        # Newer versions of Pillow take some photos' rows first, and round in between.
        assert np.abs(ours.astype(int) - prepare(path, preprocessing)).max() <= 1


def test_the_readme_has_every_tensor_of_the_graphs(examples):
    text = (examples / "onnx_graphs" / "README.md").read_text(encoding="utf-8")
    manifest = open_bundle(resolve_bundle("default")).manifest
    for name in ("enroll", "solve", "classify", "encode"):
        graph = manifest.variants["fp32"][name]
        (section,) = re.findall(rf"### `{name}`\n(.*?)(?=\n#|\Z)", text, re.DOTALL)
        documented = dict(re.findall(r"^\| `(\w+)` \| (?:in|out) \| (\w+) \|", section, re.MULTILINE))
        assert documented == {tensor.name: tensor.dtype for tensor in (*graph.inputs, *graph.outputs)}
