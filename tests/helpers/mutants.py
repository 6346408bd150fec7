"""Bundles, galleries and photos with something wrong in them, read one after the other in this process.

    python mutants.py {bundle,gallery,image} COUNT SEED FOLDER

Prints a JSON object: what went wrong with any of them, how many were refused, the most CPU time that one
took, in seconds, and the most memory that the process had at once, in MiB.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from preprocessings import CROP
from safetensors import safe_open
from safetensors.numpy import save

import hmdrn
from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.gallery.file_format import compute_checksum
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.images.preprocessing import prepare
from hmdrn_runtime.io.json_document import canonical_json
from hmdrn_runtime.profiling.fresh_process import read_peak_mib

LENGTHS = (0, 1, 7, 2**16, 10**6, 99_999_999, 10**8, 2**31, 2**40, 2**63 - 1, 2**64 - 1)
VALUES = (None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, -1e308, "", "x" * 5000, "\x00", [], {}, [[]] * 99)


def flip(data: bytearray, rng: random.Random) -> None:
    """Single bits, half of them near the beginning, where what the rest means is told."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 4000))
        data[at] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def splice(data: bytearray, rng: random.Random) -> None:
    """A part of the file once more, somewhere else."""
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    at = rng.randrange(len(data))
    data[at:at] = data[start:end]


def oversize(data: bytearray, rng: random.Random) -> None:
    """A number near the beginning that is far too large; of a safetensors file, its header's length."""
    at = rng.choice((0, rng.randrange(min(len(data), 200))))
    size, order = rng.choice((2, 4, 8)), rng.choice(("<", ">"))
    number = rng.choice(LENGTHS) % (1 << 8 * size)
    data[at : at + size] = struct.pack(order + {2: "H", 4: "I", 8: "Q"}[size], number)


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, truncate, splice, oversize)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The data with something done to it, never as they were."""
    changed = bytearray(data)
    while changed == data:
        rng.choice(DAMAGES)(changed, rng)
    return bytes(changed)


def retype(values: Any, rng: random.Random) -> None:
    """Put a value of another type or size in the place of one somewhere in a JSON object."""
    while True:
        keys: list[Any] = list(values) if isinstance(values, dict) else list(range(len(values)))
        key = rng.choice(keys)
        if isinstance(values[key], (dict, list)) and values[key] and rng.random() < 0.8:
            values = values[key]
            continue
        if rng.random() < 0.2:
            del values[key]
        else:
            values[key] = rng.choice(VALUES)
        return


class Bundles:
    """The default bundle, one file of it damaged, or its manifest of wrong types under a seal that fits."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder / "mutant.hmdrn", rng
        shutil.copytree(resolve_bundle("default"), self.folder)
        self.files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        self.pixels = np.zeros((84, 84, 3), np.uint8)

    def read_one(self) -> str | None:
        """Returns what is wrong with how a bundle was read; None where nothing is."""
        sealed = self.rng.random() < 0.2
        path = self.folder / MANIFEST_NAME if sealed else self.rng.choice(self.files)
        whole = path.read_bytes()
        path.write_bytes(self._retyped(whole) if sealed else damaged(whole, self.rng))
        try:
            mutant = hmdrn.load(self.folder, threads=1)
            if not sealed:
                return f"{path.name} was changed, and the bundle was opened"
            mutant.enroll("moth", self.pixels)
            mutant.classify(self.pixels)
        finally:
            path.write_bytes(whole)
        return None

    def _retyped(self, data: bytes) -> bytes:
        values = json.loads(data)
        retype(values, self.rng)
        values.pop("sha256", None)
        seal = hashlib.sha256(canonical_json(values).encode()).hexdigest()
        return canonical_json({**values, "sha256": seal}).encode()


class Galleries:
    """A gallery that is damaged, or whose metadata are of wrong types under a seal that fits."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.path, self.rng = folder / "mutant.gallery", rng
        recognizer = hmdrn.load("default", threads=1)
        calibration = {"threshold": 1.5, "temperature": 1.0, "far": 0.05, "background": "ab" * 32}
        recognizer.gallery.calibrate(calibration)
        photos = np.random.default_rng(3).integers(0, 256, (6, 84, 84, 3), dtype=np.uint8)
        recognizer.matcher.keep_thumbnails = True
        recognizer.enroll("moth", photos[:3])
        recognizer.enroll("Zimtkäfer", photos[3:])
        recognizer.gallery.compact(["moth"])
        recognizer.save_gallery(self.path)
        self.whole = self.path.read_bytes()
        self.contents = self._contents(hmdrn.load_gallery(self.path))

    def read_one(self) -> str | None:
        """Returns what is wrong with how a gallery was read; None where nothing is."""
        sealed = self.rng.random() < 0.3
        self.path.write_bytes(self._retyped() if sealed else damaged(self.whole, self.rng))
        found = hmdrn.load_gallery(self.path)
        if not sealed and self._contents(found) != self.contents:
            return "the gallery was changed, and read as another"
        return None

    @staticmethod
    def _contents(gallery: Gallery) -> Any:
        species = {label: (one.key, sorted(one.digests)) for label, one in gallery.species.items()}
        return gallery.network, species, gallery.history, gallery.calibration

    def _retyped(self) -> bytes:
        self.path.write_bytes(self.whole)
        with safe_open(self.path, framework="numpy") as file:
            values = json.loads(file.metadata()["hmdrn_gallery"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        retype(values, self.rng)
        values.pop("sha256", None)
        text = canonical_json({**values, "sha256": compute_checksum(values, tensors)})
        return save(tensors, {"hmdrn_gallery": text})


class Images:
    """Photos of every format, damaged."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        noise = np.random.default_rng(4).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x112] = 6
        options: list[tuple[str, dict[str, Any]]] = [
            ("JPEG", {"exif": exif}),
            ("JPEG", {"progressive": True}),
            ("PNG", {}),
            ("WEBP", {"exif": exif}),
            ("WEBP", {"lossless": True}),
            ("GIF", {}),
            ("BMP", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {}),
            ("PPM", {}),
        ]
        self.files = []
        for file_format, how in options:
            file = io.BytesIO()
            photo.save(file, file_format, **how)
            self.files.append(file.getvalue())

    def read_one(self) -> str | None:
        """Returns what is wrong with how a photo was read; None where nothing is."""
        seen = prepare(damaged(self.rng.choice(self.files), self.rng), CROP)
        return None if seen.shape == (84, 84, 3) else f"an input of {seen.shape}"


def main(kind: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    kinds = {"bundle": Bundles, "gallery": Galleries, "image": Images}
    wrong: list[str] = []
    slowest, refused = 0.0, 0
    mutants = kinds[kind](folder, random.Random(seed))
    for turn in range(count):
        # CPU time: how long one waits for a turn on a busy machine says nothing of the file.
        start = time.process_time()
        try:
            problem = mutants.read_one()
        except HmdrnError as error:
            refused += 1
            problem = "a message of several lines" if "\n" in str(error) else None
        except BaseException as error:
            problem = f"{type(error).__name__}: {error}"
        slowest = max(slowest, time.process_time() - start)
        if problem is not None:
            wrong.append(f"{kind} {turn} of seed {seed}: {problem}")
    return {"wrong": wrong, "refused": refused, "slowest": slowest, "peak": read_peak_mib()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
