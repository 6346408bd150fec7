from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from drawn_archives import cub_files, pack
from drawn_detectors import write_detector
from films import film_visits
from PIL import Image

import hmdrn
from hmdrn.loading import resolve_bundle, resolve_checkpoint
from hmdrn_runtime.bundle.bundle import MANIFEST_NAME, open_bundle
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

ALBATROSSES = ("Sooty Albatross", "Laysan Albatross", "Wandering Albatross")


def _encode_jpeg(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()


def _make_files(folder: Path) -> None:
    """Make every file that the pages and the help texts mention, from drawn photos."""
    folder.mkdir()
    albatrosses = [[_encode_jpeg(p) for p in photos] for photos in draw_specimens(range(3), 11, size=240)]
    species = [[_encode_jpeg(p) for p in photos] for photos in draw_specimens(range(40, 50), 12, size=96)]
    names = [name_species(i) for i in range(40, 50)]

    def write(path: str, photo: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(photo)

    for label, photos in zip(ALBATROSSES, albatrosses, strict=True):
        for n, photo in enumerate(photos[:5]):
            write(f"species/{label}/{n}.jpg", photo)
    for letter, photo in zip("abcd", [*albatrosses[0][5:7], *albatrosses[1][5:7]], strict=True):
        write(f"{letter}.jpg", photo)
    write("frame.jpg", albatrosses[0][10])
    for n, photo in enumerate([*albatrosses[0][5:7], *albatrosses[1][5:7]]):
        write(f"card/100EK113/IMG_{n:04d}.JPG", photo)
    for label, photos in zip(names, species, strict=True):
        for n, photo in enumerate(photos):
            write(f"photos/{label}/{n}.jpg", photo)
    for n, photo in enumerate(species[0]):
        write(f"strangers/{n}.jpg", photo)
    for name in ("birds.zip", "butterflies.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for s, (label, photos) in enumerate(zip(names, species, strict=True)):
                for n, photo in enumerate(photos):
                    archive.writestr(f"{'train' if s < 5 else 'val'}/{label}/{n}.jpg", photo)
    film_visits(folder / "film.mp4", [Image.open(io.BytesIO(photos[5])) for photos in albatrosses[:2]])
    write_detector(folder / "yolo.onnx", "v8")
    pack(folder / "CUB_200_2011.tgz", cub_files())
    for name in ("birds.hmdrn", "mine.hmdrn", "new.hmdrn"):
        shutil.copytree(resolve_bundle("default"), folder / name)
    _record_training(folder / "mine.hmdrn", folder / "photos", names[:8])
    for name in ("birds.safetensors", "runs/mine/model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(resolve_checkpoint("default"), folder / name)
    _enroll(folder / "site7.gallery", ALBATROSSES, range(3))
    _enroll(folder / "site8.gallery", ALBATROSSES[:1], range(2, 5))
    _write_visits(folder, albatrosses[2][5:8])


def _record_training(bundle: Path, photos: Path, trained: list[str]) -> None:
    """Record in a bundle that it was trained on some classes of a data set, as `hmdrn train` does."""
    manifest = open_bundle(bundle).manifest
    record = {"photos": {"sha256": open_dataset(photos).digest(), "train": trained, "val": []}}
    changed = replace(manifest, model={**manifest.model, "recipe": {"data": record}})
    (bundle / MANIFEST_NAME).write_text(changed.to_json(), encoding="utf-8")


def _enroll(path: Path, labels: Iterable[str], numbers: range) -> None:
    recognizer = hmdrn.load("default", threads=1, keep_thumbnails=True)
    for label in labels:
        recognizer.enroll(label, [path.parent / "species" / label / f"{n}.jpg" for n in numbers])
    recognizer.save_gallery(path)
    # A misspelled label to correct, and a previous generation.
    recognizer.enroll("Albatros", path.parent / "b.jpg")
    recognizer.save_gallery(path)


def _write_visits(folder: Path, strangers: list[bytes]) -> None:
    """Write the film's visits, two of a stranger, and one that is corrected to be nothing."""
    birds = hmdrn.load("default", folder / "site7.gallery", threads=1)
    watching = hmdrn.watch(birds, folder / "film.mp4", boxes=hmdrn.MotionDetector())
    with hmdrn.VisitStore(folder / "site7.visits", create=True) as visits:
        recorder = hmdrn.VisitRecorder(visits, birds, "film.mp4", live=False)
        for result in watching:
            recorder.add(result)
        recorder.close()
        last = visits.find()[-1]
        for number, photo in enumerate(strangers):
            start = last.end + timedelta(minutes=number + 1)
            pictures = (hmdrn.VisitPicture(("typical",), start, 240, 240, None, photo),)
            naming = hmdrn.Naming(known=False, nearest=ALBATROSSES[0])
            stored = visits.save(hmdrn.Visit(start, 4.0, "film.mp4", naming, pictures=pictures))
        hmdrn.correct_visits(visits, [stored.id], None)


@pytest.fixture(scope="session")
def drawn(once) -> Path:
    """Folder with every file that the examples need; run them in a copy."""
    return once("documentation", _make_files)


@pytest.fixture
def folder(drawn, tmp_path, monkeypatch) -> Path:
    """Copy of that folder, as the current folder."""
    copy = tmp_path / "here"
    shutil.copytree(drawn, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return copy
